"""A verdict as a reward: what an action was worth, given the program that it changed.

    ok                              the gain over the program that was changed, between -1 and 4
    wrong, crash, timeout, oom      -1.5
    invalid, reward_hack, no action -2

The order of these lines never changes: no ok is worth less than any failure, and nothing is worth less than a cheat.
A task that tells how much of an answer was right (`Score.secondary["partial"]`, 0 to 1) lifts a wrong one by up to 0.4.
"""

from __future__ import annotations

import math

from benchmarks.task import Direction, Score, Task, Verdict
from results.stats import paired_difference

LEAST_OK, MOST_OK, FAILED, FLOOR = -1.0, 4.0, -1.5, -2.0
PARTIAL = 0.4


def gain(task: Task, new: Score, old: Score) -> float:
    """How much better `new` is, in the task's natural units; positive is better. Both verdicts must be ok.

    A quantity whose raw values are logarithms (a speed-up): their mean paired difference, i.e. the log of the ratio. A
    positive quantity that should fall (an error): log(old / new). Else (an accuracy): the difference.
    A secondary quantity that falls under the task's floor makes a gain zero, as in the gate of `ratchet run`.
    """
    if new.value is None or old.value is None:
        raise ValueError("a gain needs two scores whose verdict is ok")
    sign = 1.0 if task.metric.direction is Direction.UP else -1.0
    if task.metric.log_units and new.units.keys() == old.units.keys() and new.units:
        found = sign * paired_difference(new.units, old.units)[0]
    elif task.metric.direction is Direction.DOWN and min(new.value, old.value) > 0:
        found = math.log(old.value) - math.log(new.value)
    else:
        found = sign * (new.value - old.value)
    for name, floor in task.floors.items():
        if new.secondary.get(name, -math.inf) < min(floor, old.secondary.get(name, floor)):
            found = min(found, 0.0)
    return found


def reward(task: Task, new: Score | None, old: Score) -> float:
    """The reward of an action that made a program of score `new` out of one of score `old` (ok); None: it was no action."""
    if new is None or new.verdict in (Verdict.INVALID, Verdict.REWARD_HACK):
        return FLOOR
    if not new.ok:
        part = new.secondary.get("partial", 0.0) if new.verdict is Verdict.WRONG else 0.0
        return FAILED + PARTIAL * (min(max(part, 0.0), 1.0) if math.isfinite(part) else 0.0)
    return min(max(gain(task, new, old), LEAST_OK), MOST_OK)
