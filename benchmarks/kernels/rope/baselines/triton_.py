"""Rotary embedding in Triton: all heads of a token share one read of their angles."""

import triton
import triton.language as tl


@triton.jit
def rotate(x, out, token, cosine, sine, heads, half, HEADS: tl.constexpr, HALF: tl.constexpr):
    """Turn every head of one token: x and out are [tokens, heads, 2 half]."""
    head = tl.arange(0, HEADS)[:, None]
    pair = tl.arange(0, HALF)[None, :]
    inside = (head < heads) & (pair < half)
    at = (token * heads + head) * (2 * half) + pair
    first = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    second = tl.load(x + at + half, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, (first * cosine - second * sine).to(out.dtype.element_ty), mask=inside)
    tl.store(out + at + half, (second * cosine + first * sine).to(out.dtype.element_ty), mask=inside)


@triton.jit
def rope(
    q, k, positions, cosines, sines, q_out, k_out, heads, groups, half,
    HEADS: tl.constexpr, GROUPS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    """One token a program."""
    token = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, HALF)
    angle = tl.load(positions + token).to(tl.int64) * half + pair
    cosine = tl.load(cosines + angle, mask=pair < half, other=0.0)[None, :]
    sine = tl.load(sines + angle, mask=pair < half, other=0.0)[None, :]
    rotate(q, q_out, token, cosine, sine, heads, half, HEADS, HALF)
    rotate(k, k_out, token, cosine, sine, groups, half, GROUPS, HALF)


def kernel(q, k, positions, cosines, sines, q_out, k_out):
    """Write q [B, T, H, D] and k [B, T, G, D], rotated by rows `positions` [B, T] of the tables [P, D/2]."""
    batch, tokens, heads, width = q.shape
    groups, half = k.shape[2], width // 2
    power = triton.next_power_of_2
    rope[(batch * tokens,)](
        q, k, positions, cosines, sines, q_out, k_out, heads, groups, half,
        HEADS=power(heads), GROUPS=power(groups), HALF=power(half), num_warps=4,
    )  # fmt: skip
