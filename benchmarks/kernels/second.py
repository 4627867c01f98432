"""Other shapes for the same kernel: a gain that holds at the timed shapes alone was sought too narrowly."""

from __future__ import annotations

import copy
import dataclasses
import random
from typing import Any

from benchmarks.kernels.problem import Device, Problem, S
from benchmarks.task import Split

EXTENT = 32
"""Numbers from here on are lengths and may be drawn; smaller ones (heads, groups, k) hang together and are taken as they are."""
SALT = 0x5EC0


def between(problem: Problem[S], split: Split, seed: int, device: Device) -> Problem[S]:
    """The same problem with other timed shapes in that split, drawn from the seed.

    Each stands between a shape of the search and the most similar one of the report: same law and dtype, lengths in between.
    """
    rng = random.Random(seed ^ SALT)
    others = problem.shapes(Split.REPORT, device)
    drawn = tuple(
        _between(first, max(others, key=lambda other: (_alike(first, other), -abs(others.index(other) - place))), rng)
        for place, first in enumerate(problem.shapes(Split.SEARCH, device))
    )
    found = copy.copy(problem)
    found.timed = {**problem.timed, device: {**problem.timed[device], split: drawn}}
    return found


def _alike(first: S, other: S) -> int:
    """In how many fields two shapes agree."""
    return sum(getattr(first, f.name) == getattr(other, f.name) for f in dataclasses.fields(first))  # type: ignore[arg-type]


def _between(first: S, other: S, rng: random.Random) -> S:
    """`first` with lengths between both; where nothing lies between them, one of the two."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(first):  # type: ignore[arg-type]  # Every shape is a dataclass.
        a, b = getattr(first, field.name), getattr(other, field.name)
        if isinstance(a, int) and not isinstance(a, bool) and a != b and min(a, b) >= EXTENT:
            changed[field.name] = _length(a, b, rng)
    return dataclasses.replace(first, **changed)  # type: ignore[type-var]


def _length(a: int, b: int, rng: random.Random) -> int:
    """A length strictly between, even where both are: a half of it must be whole for some kernels."""
    low, high = sorted((a, b))
    step = 2 if a % 2 == b % 2 == 0 else 1
    inside = range(low + step, high, step)
    return rng.choice(inside) if inside else rng.choice((low, high))
