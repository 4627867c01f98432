"""The gate of a mixture of experts in Triton: a token's logits stay in registers while the best is taken out k times."""

import triton
import triton.language as tl


@triton.jit
def gate(
    logits,
    weights,
    indices,
    tokens,
    experts,
    K: tl.constexpr,
    TOKENS: tl.constexpr,
    WIDTH: tl.constexpr,
    CHOSEN: tl.constexpr,
):
    """A few tokens a program."""
    token = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)[:, None]
    expert = tl.arange(0, WIDTH)[None, :]
    slot = tl.arange(0, CHOSEN)[None, :]
    inside = (token < tokens) & (expert < experts)
    left = tl.load(logits + token * experts + expert, mask=inside, other=float("-inf")).to(tl.float32)
    best = tl.full((TOKENS, CHOSEN), float("-inf"), tl.float32)
    chosen = tl.zeros((TOKENS, CHOSEN), tl.int32)
    for turn in tl.static_range(K):
        at = tl.argmax(left, 1)[:, None]
        best = tl.where(slot == turn, tl.max(left, 1)[:, None], best)
        chosen = tl.where(slot == turn, at, chosen)
        left = tl.where(expert == at, float("-inf"), left)
    # The first is the largest. Rows past the end hold nothing but -inf, whose differences are NaN; they are not stored.
    powers = tl.exp(best - tl.max(best, 1)[:, None])
    share = powers / tl.sum(powers, 1)[:, None]
    kept = (token < tokens) & (slot < K)
    tl.store(weights + token * K + slot, share, mask=kept)
    tl.store(indices + token * K + slot, chosen, mask=kept)


def kernel(logits, weights, indices):
    """Write the k best experts of logits [tokens, experts] and the softmax over them into indices and weights [tokens, k]."""
    tokens, experts = logits.shape
    k = weights.shape[1]
    width = triton.next_power_of_2(experts)
    several = max(1, 1024 // width)
    gate[(triton.cdiv(tokens, several),)](
        logits, weights, indices, tokens, experts,
        K=k, TOKENS=several, WIDTH=width, CHOSEN=triton.next_power_of_2(k), num_warps=4,
    )  # fmt: skip
