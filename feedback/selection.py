"""Which member of the archive is changed next: good ones, and among them those whose neighbourhood was tried least.

Building only on the best ends in the first local optimum. A member that scored a little worse and has few children is a
place where little is known (novelty as in the Darwin Gödel Machine, arXiv 2505.22954, which weighs by score and by number of
children; the distance between programs is added here, because many members differ by a constant only).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.task import Direction, Task
from feedback.archive import Try

MEMBERS = 24
"""How many of the best members are considered; comparing programs is quadratic."""


def distance(one: str, two: str) -> float:
    """Share of lines that differ, 0 to 1."""
    return 1.0 - difflib.SequenceMatcher(None, one.splitlines(), two.splitlines(), autojunk=False).ratio()


def chances(task: Task, members: Sequence[Try], history: Sequence[Try], source: Callable[[Try], str]) -> list[float]:
    """The chance of each member of being the next parent; they sum to one.

    score:    1 / (1 + rank), the best has rank 0
    novelty:  1 / (1 + children) times (0.1 + distance to the nearest other member)
    """
    values = [m.scored.value if m.scored and m.scored.value is not None else float("nan") for m in members]
    sign = -1.0 if task.metric.direction is Direction.UP else 1.0
    order = np.argsort(np.argsort([sign * v if v == v else np.inf for v in values], kind="stable"), kind="stable")
    sources = [source(m) for m in members]
    weights = []
    for i, member in enumerate(members):
        children = sum(t.parent == member.id for t in history)
        nearest = min((distance(sources[i], other) for j, other in enumerate(sources) if j != i), default=1.0)
        weights.append((1 / (1 + int(order[i]))) * (1 / (1 + children)) * (0.1 + nearest))
    return [float(w) for w in np.array(weights) / np.sum(weights)]


def parent(
    task: Task, best: Try, history: Sequence[Try], source: Callable[[Try], str], seed: Sequence[int]
) -> Try | None:
    """A member other than the best, drawn by `chances`; None when there is none whose score is ok."""
    down = task.metric.direction is Direction.DOWN
    found = [t for t in history if t.scored is not None and t.scored.ok and t.sha != best.sha]
    found.sort(key=lambda t: (t.scored.value or 0.0) * (1 if down else -1))  # type: ignore[union-attr]
    unique: dict[str, Try] = {}
    for member in found:
        unique.setdefault(member.sha, member)
    members = list(unique.values())[:MEMBERS]
    if not members:
        return None
    weights = chances(task, members, history, source)
    return members[int(np.random.default_rng([*seed, 7]).choice(len(members), p=weights))]
