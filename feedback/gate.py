"""The gate: a try replaces the best only when a paired test on the search split says that it is better.

A run may keep something that is no better with a chance of at most `ERROR`, over all its generations, tries and looks:

    a generation gets   ERROR / generations                (the union bound; the number of generations is fixed before)
    a try gets          that / tries of the generation     (Bonferroni)
    a look gets         that / looks                       (the k-th look at growing data is a test of its own)

The test is a sign-flip test (`results.stats.sign_flip`) on the paired differences: under the hypothesis that a try is no
better, each unit's difference could as well have had the other sign. Units that are repeats on one thing (thinnings of one
cell, in one look or several) are averaged first and flipped together (`Task.subject`), or a difference of one cell would count
as often as it was measured. It makes no assumption about their law, on answers that are right or wrong it is McNemar's exact test,
and its p-value never is zero: (1 + flips as large as what was seen) / (1 + flips). Fisher 1935, The Design of Experiments,
section 21; the added one: Phipson and Smyth 2010, doi:10.2202/1544-6115.1585.

On kernels a unit is one shape in one life of the two programs, since what chance deals a process is in all its blocks. How often the
test calls a copy better there is measured in `benchmarks/kernels/README.md`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.task import Direction, Score, Task
from results.stats import FLIPS, paired_difference, sign_flip

ERROR = 0.05
LOOKS = 3
PROMISING = 0.25
"""A try whose p is larger after a look is not looked at again. Stopping early without a claim costs no error."""
FINER = 20
"""Times smaller than what it is held against that a p-value can be."""


@dataclass(frozen=True)
class Decision:
    """What the gate says of one try against the best so far."""

    kept: bool
    why: str
    gain: float | None = None
    """Mean paired gain over the same units; positive is better whatever the metric's direction."""
    low: float | None = None
    high: float | None = None
    """95 % interval of the gain, for a reader; the decision is by `p`."""
    p: float | None = None
    alpha: float | None = None
    undecided: bool = False
    """True when another look under a fresh seed could decide it."""


def share(*, generations: int, tries: int, looks: int) -> float:
    """The error that one look at one try may make."""
    return ERROR / (max(1, generations) * max(1, tries) * max(1, looks))


def judge(
    task: Task, new: Sequence[Score], best: Sequence[Score], *, tries: int, generations: int = 1, looks: int = 1
) -> Decision:
    """Compare a try with the best over all looks so far: `new[k]` and `best[k]` were measured on the same units.

    `tries`, `generations` and `looks` share the error; `looks` is how many there may be, not how many there were.
    """
    if not all(score.ok for score in best):
        return Decision(False, "the best program failed this time, so there is nothing to compare with")
    for score, beside in zip(new, best, strict=True):
        if not score.ok:
            return Decision(False, f"{score.verdict.value}: {score.reason}")
        below = _below_floor(task, score, beside)
        if below:
            return Decision(False, below)
    sign = 1.0 if task.metric.direction is Direction.UP else -1.0
    ours, theirs = _joined(task, new), _joined(task, best)
    mean, interval = paired_difference(ours, theirs)
    gain, (low, high) = sign * mean, sorted(sign * bound for bound in interval)
    alpha = share(generations=generations, tries=tries, looks=looks)
    flips = max(FLIPS, math.ceil(FINER / alpha))
    p = sign_flip([sign * (ours[key] - theirs[key]) for key in sorted(ours)], flips=flips)
    said = f"p = {p:.2g} against {alpha:.2g}"
    if gain > 0 and p <= alpha:
        return Decision(True, f"better, {said}", gain, low, high, p, alpha)
    more = len(new) < looks and p <= PROMISING
    return Decision(False, f"not shown to be better, {said}", gain, low, high, p, alpha, undecided=more)


def _joined(task: Task, scores: Sequence[Score]) -> dict[str, float]:
    """Units of all looks in one mapping, and the mean where several are repeats on one subject."""
    found: dict[str, list[float]] = {}
    for look, score in enumerate(scores):
        for key, value in score.units.items():
            found.setdefault(task.subject(key) or f"{look}/{key}", []).append(value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def _below_floor(task: Task, new: Score, best: Score) -> str:
    """Why a try may not be kept: a guarded quantity fell under the smaller of its floor and what the best has."""
    secondary: Mapping[str, float] = new.secondary
    for name, floor in task.floors.items():
        needed = min(floor, best.secondary.get(name, floor))
        if not secondary.get(name, -math.inf) >= needed:
            return f"{name} {secondary.get(name, math.nan):.3g} is under {needed:.3g}"
    return ""
