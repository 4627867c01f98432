"""A linear layer with bias and SiLU in Triton: tiles of the product, finished before they are written."""

import torch
import triton
import triton.language as tl


@triton.jit
def linear_silu(
    x, weight, bias, out, m, n, k,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile [M, N] of the output a program. Tiles go down in groups of rows, so that weights are found in L2."""
    rows, columns = tl.cdiv(m, M), tl.cdiv(n, N)
    group, place = tl.program_id(0) // (GROUP * columns), tl.program_id(0) % (GROUP * columns)
    tall = tl.minimum(rows - group * GROUP, GROUP)
    row = (group * GROUP + place % tall) * M + tl.arange(0, M)
    column = place // tall * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for start in range(0, k, K):
        depth = start + tl.arange(0, K)
        left = tl.load(
            x + row[:, None].to(tl.int64) * k + depth[None, :],
            mask=(row[:, None] < m) & (depth[None, :] < k),
            other=0.0,
        )
        right = tl.load(
            weight + column[None, :].to(tl.int64) * k + depth[:, None],
            mask=(column[None, :] < n) & (depth[:, None] < k),
            other=0.0,
        )
        total = tl.dot(left, right, total, input_precision=PRECISION)
    total += tl.load(bias + column, mask=column < n, other=0.0).to(tl.float32)[None, :]
    answer = total * tl.sigmoid(total)
    at = row[:, None].to(tl.int64) * n + column[None, :]
    tl.store(out + at, answer.to(out.dtype.element_ty), mask=(row[:, None] < m) & (column[None, :] < n))


def kernel(x, weight, bias, out):
    """Write SiLU of x [m, k] times weight [n, k] transposed, plus bias [n], into out [m, n]."""
    (m, k), n = x.shape, weight.shape[0]
    # Float32 products must not go through TF32: the tolerance is tighter than that.
    exact = x.dtype == torch.float32
    tile = (64, 64, 32) if exact else (64, 128, 64) if m <= 512 else (128, 256, 64)
    grid = (triton.cdiv(m, tile[0]) * triton.cdiv(n, tile[1]),)
    linear_silu[grid](
        x, weight, bias, out, m, n, k, M=tile[0], N=tile[1], K=tile[2], GROUP=8,
        PRECISION="ieee" if exact else "tf32", num_warps=8 if tile[1] == 256 else 4, num_stages=3,
    )  # fmt: skip
