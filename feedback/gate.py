"""The gate: a try replaces the best only when a paired comparison on the search split says that it is better."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.task import Direction, Score, Task
from results.stats import paired_difference


@dataclass(frozen=True)
class Decision:
    """What the gate says of one try against the best so far."""

    kept: bool
    why: str
    gain: float | None = None
    """Mean paired gain over the same units; positive is better whatever the metric's direction."""
    low: float | None = None
    high: float | None = None


def judge(task: Task, new: Score, best: Score, *, tries: int) -> Decision:
    """Compare two scores that were measured on the same units.

    `tries` is how many are compared with the best in this generation: the error rate of 5 % is shared among them
    (Bonferroni), so that trying more does not make a lucky draw more likely to be kept.
    """
    if not new.ok:
        return Decision(False, f"{new.verdict.value}: {new.reason}")
    for name, floor in task.floors.items():
        needed = min(floor, best.secondary.get(name, floor))
        if new.secondary.get(name, float("-inf")) < needed:
            return Decision(False, f"{name} {new.secondary.get(name, float('nan')):.3g} is under {needed:.3g}")
    sign = 1.0 if task.metric.direction is Direction.UP else -1.0
    mean, (low, high) = paired_difference(new.units, best.units, level=1 - 0.05 / max(1, tries))
    gain, bounds = sign * mean, sorted((sign * low, sign * high))
    if bounds[0] > 0:
        return Decision(True, "better beyond its interval", gain, *bounds)
    return Decision(False, "not better beyond its interval", gain, *bounds)
