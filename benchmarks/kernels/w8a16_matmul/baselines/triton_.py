"""A product with eight-bit weights in Triton: weights cross the memory bus as bytes, and scales wait until the sum is done.

Whole numbers up to 128 are exact in bfloat16 and float16, so making them so loses nothing.
"""

import triton
import triton.language as tl


@triton.jit
def product(x, weight, scales, out, m, n, k, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """One tile [M, N] of the output a program; tiles that share weights are neighbours."""
    row = tl.program_id(0) * M + tl.arange(0, M)
    column = tl.program_id(1) * N + tl.arange(0, N)
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
            other=0,
        )
        total = tl.dot(left, right.to(tl.float32).to(left.dtype), total)
    total *= tl.load(scales + column, mask=column < n, other=0.0)[None, :]
    at = row[:, None].to(tl.int64) * n + column[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=(row[:, None] < m) & (column[None, :] < n))


def kernel(x, weight, scales, out):
    """Write x [m, k] times (weight [n, k] · scales [n]) transposed into out [m, n]."""
    (m, k), n = x.shape, weight.shape[0]
    # Few rows: the weights' way through memory is all that counts, so many programs with long reads.
    tile = (16, 32, 256) if m <= 16 else (32, 64, 128) if m <= 64 else (128, 128, 64)
    grid = (triton.cdiv(m, tile[0]), triton.cdiv(n, tile[1]))
    product[grid](
        x, weight, scales, out, m, n, k, M=tile[0], N=tile[1], K=tile[2],
        num_warps=8 if tile[0] == 128 else 4, num_stages=3,
    )  # fmt: skip
