"""What a reward says about one answer, given the other answers to the same prompt.

Every function takes the rewards [K] of one group and gives advantages [K], in numpy, torch or JAX alike. A group whose
rewards are all equal says nothing: its advantages are exactly zero, not a rounding error divided by a rounding error.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

Array = Any
"""A numpy, torch or JAX array."""

LN2 = math.log(2.0)
SMALLEST_ENTROPIC_GROUP = 3
"""With two answers KL(softmax ‖ uniform) cannot pass ln 2, so the temperature would run to its limit."""
LARGEST_BETA = 1e6
"""In units of one over the spread of the rewards: gaps below a millionth of the spread count as ties."""
BISECTIONS = 64


def mean_baseline(rewards: Array) -> Array:
    """A_i = r_i - mean(r): the default. No division by the standard deviation (Dr. GRPO, arXiv 2503.20783).

    In expectation it is (1 - 1/K) times the policy gradient, because each reward is part of its own baseline.
    """
    xp = array_namespace(rewards)
    return _unless_constant(rewards, rewards - xp.mean(rewards))


def group_normalised(rewards: Array) -> Array:
    """A_i = (r_i - mean(r)) / std(r), std over the group as a population (GRPO, arXiv 2402.03300)."""
    xp = array_namespace(rewards)
    spread = xp.std(rewards)
    return _unless_constant(rewards, (rewards - xp.mean(rewards)) / xp.where(spread > 0, spread, xp.ones_like(spread)))


def leave_one_out(rewards: Array) -> Array:
    """A_i = r_i - mean of the other K - 1 rewards: unbiased (RLOO, arXiv 2402.14740). K = 1 gives zero."""
    xp = array_namespace(rewards)
    k = rewards.shape[0]
    return _unless_constant(rewards, (rewards - xp.mean(rewards)) * (k / max(k - 1, 1)))


def best_of_group(rewards: Array) -> Array:
    """A_i = 1/m for the m answers that tie for best, 0 for the others: behaviour cloning of best-of-N.

    The likelihood of the best answer is raised and nothing is lowered (expert iteration, arXiv 1705.08439).
    """
    xp = array_namespace(rewards)
    best = xp.astype(rewards == xp.max(rewards), rewards.dtype)
    return _unless_constant(rewards, best / xp.sum(best))


def best_and_worst(rewards: Array) -> Array:
    """+1 for the best answer, -1 for the worst, 0 between: the pair that DPO (arXiv 2305.18290) learns from.

    The first of several that tie is taken.
    """
    xp = array_namespace(rewards)
    place = xp.arange(rewards.shape[0])
    if hasattr(rewards, "device") and hasattr(place, "to"):
        place = place.to(rewards.device)
    chosen = xp.astype(place == xp.argmax(rewards), rewards.dtype)
    rejected = xp.astype(place == xp.argmin(rewards), rewards.dtype)
    return _unless_constant(rewards, chosen - rejected)


def entropic(rewards: Array) -> Array:
    """A_i = w_i - 1, w_i = e_i / mean of the other e_j, e = exp(β r): TTT-Discover (arXiv 2601.16175).

    β is the one for which KL(softmax(β r) ‖ uniform) = ln 2, so shift and scale of the rewards do not matter. Guards:
    - where half of the group or more tie for best no β reaches ln 2; β stops at its limit, with finite weights:
      (K - 1)/(m - 1) for the m best, 0 for the rest.
    - a best answer that stands alone, or leads another by a hair, would weigh exp(β gap) without bound: w_i <= K.
    - a group of fewer than three falls back to the mean baseline.
    """
    xp = array_namespace(rewards)
    k = rewards.shape[0]
    if k < SMALLEST_ENTROPIC_GROUP:
        return mean_baseline(rewards)
    spread = xp.max(rewards) - xp.min(rewards)
    below = (rewards - xp.max(rewards)) / xp.where(spread > 0, spread, xp.ones_like(spread))
    e = xp.exp(entropic_beta(below) * below)
    others = (xp.sum(e) - e) / (k - 1)
    floor = xp.full_like(others, 1.0 / (2 * k))  # below it the weight is capped anyway
    weights = xp.where(others * k <= e, xp.full_like(e, float(k)), e / xp.maximum(others, floor * e))
    return _unless_constant(rewards, weights - 1.0)


def entropic_beta(rewards: Array) -> Array:
    """The β in [0, `LARGEST_BETA`] at which KL(softmax(β r) ‖ uniform) = ln 2, by bisection; the limit if none does.

    rewards [K] with a largest value of 0 and a spread of 1 (or all equal); gives a scalar array. KL grows with β.
    """
    xp = array_namespace(rewards)
    low, high = xp.zeros_like(rewards[0]), xp.full_like(rewards[0], LARGEST_BETA)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        short = kl_from_uniform(middle * rewards) < LN2
        low, high = xp.where(short, middle, low), xp.where(short, high, middle)
    return (low + high) / 2


def kl_from_uniform(logits: Array) -> Array:
    """KL(softmax(logits) ‖ uniform) in nats, logits [K] with a largest value of 0; a scalar array in [0, ln K]."""
    xp = array_namespace(logits)
    total = xp.sum(xp.exp(logits))
    logq = logits - xp.log(total)
    return xp.sum(xp.exp(logq) * logq) + math.log(logits.shape[0])


def _unless_constant(rewards: Array, advantages: Array) -> Array:
    xp = array_namespace(rewards)
    return xp.where(xp.max(rewards) > xp.min(rewards), advantages, xp.zeros_like(advantages))
