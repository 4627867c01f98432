"""Causal attention with grouped queries in Triton: scores never leave the chip (Dao et al. 2022, Dao 2023).

Each program has a block of queries and walks over the keys before them, with a running maximum and a running sum.
"""

import torch
import triton
import triton.language as tl


@triton.jit
def step(
    queries, largest, total, answer, k, v, start, row, tokens, width, slope,
    KEYS: tl.constexpr, WIDTH: tl.constexpr, EDGE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Take in the keys from `start` on. Only at the EDGE are there keys that a query must not see."""
    key = start + tl.arange(0, KEYS)
    lane = tl.arange(0, WIDTH)
    seen = (key[:, None] < tokens) & (lane[None, :] < width)
    keys = tl.load(k + key[:, None] * width + lane[None, :], mask=seen, other=0.0)
    scores = tl.dot(queries, tl.trans(keys), input_precision=PRECISION) * slope
    if EDGE:
        scores = tl.where(key[None, :] <= row[:, None], scores, float("-inf"))
    now = tl.maximum(largest, tl.max(scores, 1))
    powers = tl.exp2(scores - now[:, None])
    shrink = tl.exp2(largest - now)
    values = tl.load(v + key[:, None] * width + lane[None, :], mask=seen, other=0.0)
    answer = tl.dot(powers.to(values.dtype), values, answer * shrink[:, None], input_precision=PRECISION)
    return now, total * shrink + tl.sum(powers, 1), answer


@triton.jit
def attention(
    q, k, v, out, heads, groups, tokens, width, slope,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One block of queries of one head a program; the longest walks come first."""
    block = tl.num_programs(0) - 1 - tl.program_id(0)
    both = tl.program_id(1).to(tl.int64)
    shared = both // heads * groups + both % heads * groups // heads
    q += both * tokens * width
    out += both * tokens * width
    k += shared * tokens * width
    v += shared * tokens * width
    first = block * QUERIES
    row = first + tl.arange(0, QUERIES)
    lane = tl.arange(0, WIDTH)
    inside = (row[:, None] < tokens) & (lane[None, :] < width)
    queries = tl.load(q + row[:, None] * width + lane[None, :], mask=inside, other=0.0)
    largest = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    answer = tl.zeros((QUERIES, WIDTH), tl.float32)
    for start in range(0, first, KEYS):
        largest, total, answer = step(
            queries, largest, total, answer, k, v, start, row, tokens, width, slope, KEYS, WIDTH, False, PRECISION
        )
    for start in range(first, tl.minimum(first + QUERIES, tokens), KEYS):
        largest, total, answer = step(
            queries, largest, total, answer, k, v, start, row, tokens, width, slope, KEYS, WIDTH, True, PRECISION
        )
    answer = answer / total[:, None]
    tl.store(out + row[:, None] * width + lane[None, :], answer.to(out.dtype.element_ty), mask=inside)


def kernel(q, k, v, out):
    """Write attention of q [B, H, T, D] over k and v [B, G, T, D] into out; H / G heads share a key head."""
    batch, heads, tokens, width = q.shape
    exact = q.dtype == torch.float32
    # QUERIES is a multiple of KEYS: then only the blocks on the diagonal need a mask.
    queries, keys = (32, 32) if exact else (128, 64)
    grid = (triton.cdiv(tokens, queries), batch * heads)
    attention[grid](
        q, k, v, out, heads, k.shape[1], tokens, width, 1.4426950408889634 / width**0.5,
        QUERIES=queries, KEYS=keys, WIDTH=max(16, triton.next_power_of_2(width)),
        PRECISION="ieee" if exact else "tf32", num_warps=8 if width > 64 and not exact else 4, num_stages=3,
    )  # fmt: skip
