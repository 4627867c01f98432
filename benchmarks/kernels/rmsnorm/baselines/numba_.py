"""RMSNorm in numba, for float32: two passes over a row that is still in the cache. Other dtypes go the plain way."""

import numba
import numpy as np
import torch

EPSILON = np.float32(1e-6)


@numba.njit("void(float32[:, ::1], float32[::1], float32[:, ::1])", parallel=True, fastmath=True)
def rmsnorm(x, weight, out):
    """Rows of x [rows, cols] over their root mean square, times weight."""
    rows, cols = x.shape
    for row in numba.prange(rows):
        total = np.float32(0.0)
        for col in range(cols):
            total += x[row, col] * x[row, col]
        factor = np.float32(1.0) / np.sqrt(total / np.float32(cols) + EPSILON)
        for col in range(cols):
            out[row, col] = x[row, col] * factor * weight[col]


def kernel(x, weight, out):
    """Write x [rows, cols] over its root mean square, times weight [cols], into out."""
    if x.dtype == torch.float32:
        rmsnorm(x.numpy(), weight.numpy(), out.numpy())
    else:
        values = x.float()
        values = values * torch.rsqrt(values.square().mean(-1, keepdim=True) + float(EPSILON))
        torch.mul(values, weight, out=values)
        out.copy_(values)
