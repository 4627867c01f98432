"""Rollouts, and the padded batch that both trainers take: numpy arrays only, so that nobody's framework is in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sandboxes.base import UserError
from training.objectives import Average, Objective

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Rollout:
    """One attempt of the model: what it was given, what it said, what that was worth."""

    prompt: tuple[int, ...]
    """Token ids; at least one."""
    completion: tuple[int, ...]
    """Token ids, the end-of-text token included where the model gave one; at least one."""
    logprobs: tuple[float, ...]
    """Natural logarithm of the probability with which the sampler drew each completion token."""
    reward: float
    group: str
    """Rollouts with the same group answered the same prompt and are compared with each other."""
    mask: tuple[bool, ...] | None = None
    """False for completion tokens that the model did not choose (a tool's output); None: all are its own."""
    allowed: tuple[tuple[int, ...], ...] | None = None
    """The ids that the sampler could choose among at each completion token, as in `agents.models.policy.Choice`; empty at
    a token means all of them, None all everywhere. Probabilities are over these ids; where there was one, nothing was
    chosen and nothing is trained."""

    @property
    def trained(self) -> NDArray[np.bool_]:
        """True for each completion token that the model chose."""
        own = np.ones(len(self.completion), bool) if self.mask is None else np.asarray(self.mask, bool)
        return own if self.allowed is None else own & np.asarray([len(ids) != 1 for ids in self.allowed])


@dataclass(frozen=True)
class Batch:
    """N sequences padded on the right to T + 1 tokens. Column t of a [N, T] stream belongs to the token at t + 1."""

    tokens: Ints
    """[N, T + 1]; zeros after a sequence's end, which a causal model's earlier positions can't see."""
    lengths: Ints
    """[N] tokens of each sequence."""
    sampler: Floats
    """[N, T] the sampler's log-probabilities, 0 where the token is not trained."""
    advantage: Floats
    """[N, T]"""
    weights: Floats
    """[N, T] how much a token counts in the loss; 0: not trained. They include the average over the whole batch, so the
    losses and gradients of micro-batches simply add."""
    allowed: Ints
    """[N, T, K] the ids that a token was chosen among, filled up with -1; all -1: the whole vocabulary. K is 0 where no
    choice was constrained."""
    rows: tuple[int, ...]
    """[N] the index of each sequence in the rollouts that the batch was made of."""
    temperature: float = 1.0
    """That logits are divided by."""
    silent: int = 0
    """Rollouts left out because their group says nothing: all rewards equal."""

    @property
    def trained_tokens(self) -> int:
        """Tokens with a weight."""
        return int((self.weights > 0).sum())

    def take(self, rows: Sequence[int], length: int | None = None) -> Batch:
        """The given rows, cut after `length` tokens."""
        index, length = list(rows), length or self.tokens.shape[1]
        return replace(
            self,
            tokens=self.tokens[index, :length],
            lengths=self.lengths[index],
            sampler=self.sampler[index, : length - 1],
            advantage=self.advantage[index, : length - 1],
            weights=self.weights[index, : length - 1],
            allowed=self.allowed[index, : length - 1],
            rows=tuple(self.rows[i] for i in index),
        )


def make_batch(
    rollouts: Sequence[Rollout], objective: Objective, *, longest_answer: int, temperature: float = 1.0
) -> Batch:
    """Advantages by group, weights by the objective's average, rows whose advantage is zero left out.

    Rows left out still count in the average, so leaving them out changes no gradient. A batch may come out with no row:
    then there is nothing to learn. `longest_answer` is the divisor of `Average.CONSTANT`, in tokens. Raises UserError.
    """
    check(rollouts)
    advantage = group_advantages(rollouts, objective)
    masks = [r.trained for r in rollouts]
    if objective.paired:
        kept = _pairs(rollouts, advantage)
        counts = [2.0 / max(len(kept), 1)] * len(rollouts)
    else:
        kept = [i for i, a in enumerate(advantage) if a != 0 and masks[i].any()]
        counts = _token_weights(masks, objective.average, longest_answer)
    streams = _pad(rollouts, kept, masks)
    weights = streams.weights * np.asarray([[counts[i]] for i in kept], dtype=np.float32).reshape(-1, 1)
    scaled = np.asarray([[advantage[i]] for i in kept], dtype=np.float32).reshape(-1, 1) * (weights > 0)
    return replace(streams, weights=weights, advantage=scaled, temperature=temperature, silent=_silent(rollouts))


def scoring_batch(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Batch:
    """(prompt, completion) ids, each completion token with weight 1: for scoring, not for training. Raises UserError."""
    rollouts = [Rollout(tuple(p), tuple(c), (0.0,) * len(c), 0.0, "") for p, c in pairs]
    check(rollouts)
    return _pad(rollouts, range(len(rollouts)), [np.ones(len(r.completion)) for r in rollouts])


def check(rollouts: Sequence[Rollout]) -> None:
    """Raise UserError unless every rollout is whole and the batch is not empty."""
    if not rollouts:
        raise UserError("an empty group can't be trained on: give at least one rollout")
    for i, r in enumerate(rollouts):
        if not r.prompt or not r.completion:
            raise UserError(f"rollout {i} has an empty {'completion' if r.prompt else 'prompt'}; each needs a token")
        if len(r.logprobs) != len(r.completion) or (r.mask is not None and len(r.mask) != len(r.completion)):
            raise UserError(f"rollout {i}: a log-probability and a mask entry are needed for each completion token")
        if not math.isfinite(r.reward):
            raise UserError(f"rollout {i} has reward {r.reward}: give invalid answers a finite floor instead")
        if r.allowed is not None and (
            len(r.allowed) != len(r.completion)
            or any(ids and token not in ids for ids, token in zip(r.allowed, r.completion, strict=True))
        ):
            raise UserError(f"rollout {i}: the allowed ids must be given for each completion token, and include it")
        if not all(math.isfinite(p) and p <= 1e-3 for p in r.logprobs):
            raise UserError(f"rollout {i}: the sampler's log-probabilities must be finite and at most 0")


def group_advantages(rollouts: Sequence[Rollout], objective: Objective) -> list[float]:
    """The objective's advantage of each rollout within its group, in float64."""
    groups: dict[str, list[int]] = {}
    for i, rollout in enumerate(rollouts):
        groups.setdefault(rollout.group, []).append(i)
    found = [0.0] * len(rollouts)
    for members in groups.values():
        values = objective.advantage(np.asarray([rollouts[i].reward for i in members], dtype=np.float64))
        for i, value in zip(members, values, strict=True):
            found[i] = float(value)
    return found


def places_of(batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat places in [N × T] of the trained tokens: those chosen from the whole vocabulary, those chosen among a few."""
    bound = (batch.allowed >= 0).any(-1)
    return np.flatnonzero((batch.weights > 0) & ~bound), np.flatnonzero((batch.weights > 0) & bound)


def micro_batches(
    batch: Batch, token_budget: int, *, paired: bool = False, shared: bool = False
) -> Iterator[list[int]]:
    """Row numbers of each micro-batch: padded tokens <= `token_budget` (one unit at least), rows of similar length together.

    With `shared`, rows after the same prompt come together, and a beginning that all of them share is counted once: that is
    what it costs a trainer that runs it once. A DPO pair is never parted.
    """
    size = 2 if paired else 1
    starts = np.where((batch.weights > 0).any(1), (batch.weights > 0).argmax(1), batch.lengths)

    def order(unit: list[int]) -> tuple[int, bytes, int]:
        longest = int(batch.lengths[unit].max())
        if not shared:
            return -longest, b"", 0
        start = int(starts[unit[0]])
        return -start, batch.tokens[unit[0], :start].tobytes(), -longest

    waiting = sorted([list(range(i, i + size)) for i in range(0, len(batch.rows), size)], key=order)
    rows: list[int] = []
    for unit in waiting:
        grown = [*rows, *unit]
        common = shared_prefix(batch, grown) if shared else 0
        if rows and common + len(grown) * (int(batch.lengths[grown].max()) - common) > token_budget:
            yield rows
            grown = unit
        rows = grown
    if rows:
        yield rows


def shared_prefix(batch: Batch, rows: Sequence[int]) -> int:
    """How many tokens the rows begin with in common, none of them trained: what one forward pass can do for all of them."""
    index = list(rows)
    weights = batch.weights[index] > 0
    most = int(min(weights.shape[1] - 1, *np.where(weights.any(1), weights.argmax(1), batch.lengths[index] - 1)))
    differ = (batch.tokens[index, :most] != batch.tokens[index[0], :most]).any(0)
    return int(differ.argmax()) if differ.any() else most


def _silent(rollouts: Sequence[Rollout]) -> int:
    rewards: dict[str, list[float]] = {}
    for rollout in rollouts:
        rewards.setdefault(rollout.group, []).append(rollout.reward)
    return sum(len(values) for values in rewards.values() if max(values) == min(values))


def _pairs(rollouts: Sequence[Rollout], advantage: Sequence[float]) -> list[int]:
    """Chosen and rejected row of each group that has both, interleaved."""
    chosen = {r.group: i for i, r in enumerate(rollouts) if advantage[i] > 0}
    rejected = {r.group: i for i, r in enumerate(rollouts) if advantage[i] < 0}
    return [i for group in chosen if group in rejected for i in (chosen[group], rejected[group])]


def _token_weights(masks: Sequence[NDArray[np.bool_]], average: Average, longest_answer: int) -> list[float]:
    lengths = [int(mask.sum()) for mask in masks]
    if average is Average.TOKENS:
        return [1.0 / max(sum(lengths), 1)] * len(masks)
    if average is Average.SEQUENCES:
        return [1.0 / (len(masks) * max(length, 1)) for length in lengths]
    return [1.0 / (len(masks) * longest_answer)] * len(masks)


def _pad(rollouts: Sequence[Rollout], rows: Sequence[int], masks: Sequence[NDArray[np.generic]]) -> Batch:
    longest = max((len(rollouts[i].prompt) + len(rollouts[i].completion) for i in rows), default=2)
    tokens = np.zeros((len(rows), longest), dtype=np.int32)
    sampler, weights = (np.zeros((len(rows), longest - 1), dtype=np.float32) for _ in range(2))
    lengths = np.zeros(len(rows), dtype=np.int32)
    widest = max((len(ids) for i in rows for ids in rollouts[i].allowed or ()), default=0)
    allowed = np.full((len(rows), longest - 1, widest), -1, dtype=np.int32)
    for n, i in enumerate(rows):
        r = rollouts[i]
        start, end = len(r.prompt), len(r.prompt) + len(r.completion)
        tokens[n, :end], lengths[n] = (*r.prompt, *r.completion), end
        weights[n, start - 1 : end - 1] = masks[i]
        sampler[n, start - 1 : end - 1] = np.where(masks[i], r.logprobs, 0.0)
        for t, ids in enumerate(r.allowed or ()):
            allowed[n, start - 1 + t, : len(ids)] = ids
    return Batch(tokens, lengths, sampler, np.zeros_like(weights), weights, allowed, tuple(rows))
