"""Objectives: an advantage for each answer, a loss over its tokens, and how the tokens are averaged.

All functions are pure and take numpy, torch or JAX arrays through one array namespace. Streams are [B, T]: one row for
each sequence, one column for each predicted token. A column with weight 0 (prompt, padding, output of a tool) has no
part in the loss, whatever stands in it. An objective is an entry of `OBJECTIVES`; a new one is a new entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from array_api_compat import array_namespace, is_jax_array, is_torch_array

from sandboxes.base import UserError
from training import advantages
from training.advantages import Array


class Average(StrEnum):
    """What a token's weight is."""

    TOKENS = "tokens"
    """1 / all trained tokens of the batch: every token counts the same (DAPO, arXiv 2503.14476)."""
    SEQUENCES = "sequences"
    """1 / (sequences × trained tokens of this one): every answer counts the same, so a long one's tokens count less."""
    CONSTANT = "constant"
    """1 / (sequences × longest answer allowed): a sum over tokens, no length in it (Dr. GRPO, arXiv 2503.20783)."""


@dataclass(frozen=True)
class Objective:
    """What a trainer makes larger."""

    name: str
    advantage: Callable[[Array], Array]
    """Rewards [K] of a group to advantages [K]; see `training.advantages`."""
    average: Average = Average.TOKENS
    clip: tuple[float, float] | None = None
    """The ratio to the policy before the first update stays in [1 - low, 1 + high]; None: plain REINFORCE."""
    importance_cap: float | None = 2.0
    """Upper bound of the weight p_trainer / p_sampler of a token; None: weights of 1."""
    kl: float = 0.0
    """Strength of the pull to the base model, per nat; in DPO it is β."""
    paired: bool = False
    """DPO: the loss compares the best with the worst answer of a group."""

    @property
    def needs_base(self) -> bool:
        """True when the base model's log-probabilities are part of the objective."""
        return self.kl > 0

    @property
    def needs_old(self) -> bool:
        """True when the policy's own log-probabilities before the first update are."""
        return not self.paired and (self.clip is not None or self.kl > 0)

    def loss(
        self, logprobs: Array, *, sampler: Array, old: Array, base: Array, advantage: Array, weights: Array
    ) -> Array:
        """The loss, a scalar array. All arguments [B, T]; `old` and `base` are only read when they are needed."""
        if self.paired:
            return dpo_loss(logprobs, base, weights, self.kl)
        if self.clip is None:
            return reinforce_loss(
                logprobs,
                advantage,
                importance_weights(constant(logprobs), sampler, weights, self.importance_cap),
                weights,
            )
        importance = importance_weights(old, sampler, weights, self.importance_cap)
        return clipped_loss(logprobs, old, advantage, importance, weights, *self.clip)


OBJECTIVES: dict[str, Objective] = {
    o.name: o
    for o in (
        Objective("mean_baseline", advantages.mean_baseline),
        Objective("grpo", advantages.group_normalised, average=Average.SEQUENCES, clip=(0.2, 0.2)),
        Objective("dr_grpo", advantages.mean_baseline, average=Average.CONSTANT, clip=(0.2, 0.2)),
        Objective("dapo", advantages.group_normalised, clip=(0.2, 0.28)),
        Objective("rloo", advantages.leave_one_out, average=Average.CONSTANT),
        Objective("entropic", advantages.entropic),
        Objective("reinforce_kl", advantages.mean_baseline, average=Average.CONSTANT, kl=0.05),
        Objective("best_of_n", advantages.best_of_group, importance_cap=None),
        Objective("dpo", advantages.best_and_worst, importance_cap=None, kl=0.1, paired=True),
    )
}
"""Papers: grpo arXiv 2402.03300, dr_grpo 2503.20783, dapo 2503.14476, rloo 2402.14740, entropic 2601.16175, reinforce_kl
1909.08593, best_of_n 1705.08439, dpo 2305.18290. `mean_baseline` is the default: REINFORCE with the group's mean as
baseline, averaged over tokens."""

DEFAULT = "mean_baseline"


def objective(name: str) -> Objective:
    """The objective of that name. Raises UserError."""
    if name not in OBJECTIVES:
        raise UserError(f"no objective {name!r}; there are {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def constant(x: Array) -> Array:
    """`x` as data: no gradient flows through it."""
    if is_torch_array(x):
        return x.detach()
    if is_jax_array(x):
        import jax

        return jax.lax.stop_gradient(x)
    return x


def importance_weights(trainer: Array, sampler: Array, weights: Array, cap: float | None) -> Array:
    """min(p_trainer / p_sampler, cap) for each token, [B, T]; 1 where the token has no weight or there is no cap.

    Sampler and trainer disagree a little even on the same weights (other kernels, other precision, older adapter). The
    ratio undoes that; the cap bounds its variance (truncated importance sampling, Ionides 2008; as a token's weight in
    IMPALA, arXiv 1802.01561).
    """
    xp = array_namespace(trainer)
    if cap is None:
        return xp.ones_like(trainer)
    return xp.clip(xp.exp(_difference(trainer, sampler, weights)), None, cap)


def reinforce_loss(logprobs: Array, advantage: Array, importance: Array, weights: Array) -> Array:
    """-Σ weight · importance · A · log p, all [B, T] (REINFORCE, Williams 1992)."""
    xp = array_namespace(logprobs)
    seen = xp.where(weights > 0, logprobs, xp.zeros_like(logprobs))
    return -xp.sum(weights * importance * advantage * seen)


def clipped_loss(
    logprobs: Array, old: Array, advantage: Array, importance: Array, weights: Array, low: float, high: float
) -> Array:
    """-Σ weight · importance · min(ρ A, clip(ρ, 1 - low, 1 + high) A) with ρ = exp(logprobs - old), all [B, T].

    low = high is PPO's clip (arXiv 1707.06347); high > low lets a rare good token grow further (DAPO, arXiv 2503.14476).
    """
    xp = array_namespace(logprobs)
    ratio = xp.exp(_difference(logprobs, old, weights))
    surrogate = xp.minimum(ratio * advantage, xp.clip(ratio, 1.0 - low, 1.0 + high) * advantage)
    return -xp.sum(weights * importance * surrogate)


def dpo_loss(logprobs: Array, base: Array, weights: Array, beta: float) -> Array:
    """Σ over pairs of w · -log sigmoid(β (Δ_chosen - Δ_rejected)), Δ = Σ_t (log p - log p_base) (DPO, arXiv 2305.18290).

    Arrays [2P, T]: row 2i is the chosen answer, row 2i + 1 the rejected one. A pair's w is the weight of its tokens.
    """
    xp = array_namespace(logprobs)
    gained = xp.sum(_difference(logprobs, base, weights), axis=1)
    margin = beta * (gained[0::2] - gained[1::2])
    return xp.sum(xp.max(weights[0::2], axis=1) * xp.logaddexp(xp.zeros_like(margin), -margin))


def fold_kl(advantage: Array, old: Array, base: Array, weights: Array, kl: float) -> Array:
    """A_t - kl · (G_t - mean G), G_t = Σ_{s >= t} (log p_s - log p_base_s): the pull to the base as a reward, [B, T].

    Every argument is data: the penalty's gradient comes from the policy gradient itself (arXiv 1909.08593). A penalty on
    the token's own difference alone would be biased, because a token also decides which tokens follow; a gradient through
    the difference would be zero in expectation (arXiv 2506.09477).
    """
    xp = array_namespace(advantage)
    difference = _difference(old, base, weights)
    to_come = xp.sum(difference, axis=1, keepdims=True) - xp.cumulative_sum(difference, axis=1) + difference
    trained = xp.astype(weights > 0, advantage.dtype)
    mean = xp.sum(to_come * trained) / xp.clip(xp.sum(trained), 1.0, None)
    return advantage - kl * (to_come - mean) * trained


def kl_estimate(logprobs: Array, reference: Array, weights: Array) -> Array:
    """Σ over trained tokens of the non-negative estimate exp(d) - 1 - d of KL(p ‖ reference), d = log reference - log p.

    Divide by their number for a mean in nats per token. Unbiased on tokens drawn from p (Schulman 2020, "k3").
    """
    xp = array_namespace(logprobs)
    difference = _difference(reference, logprobs, weights)
    return xp.sum(xp.exp(difference) - 1.0 - difference)


def _difference(left: Array, right: Array, weights: Array) -> Array:
    """left - right where a token has weight, 0 elsewhere; bounded by ±30, so that its exponential is finite."""
    xp = array_namespace(left)
    seen = weights > 0
    zero = xp.zeros_like(left)
    return xp.clip(xp.where(seen, left, zero) - xp.where(seen, right, zero), -30.0, 30.0)
