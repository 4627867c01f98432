"""What a kernel task says of itself: shapes, inputs, the float64 answer, tolerance and floor.

`rounds.py` times and checks any problem of this form; a new kernel is one more of these.
"""

from __future__ import annotations

import functools
import os
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.kernels.memory import Array
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.task import Split

Doubles = npt.NDArray[np.float64]

WIDEST_FLOPS_PER_CYCLE = 2048
"""Floating-point operations of one core in one cycle on the widest unit a CPU has today (AMX with bfloat16)."""
FASTEST_HZ = 6.0e9


class Shape(Protocol):
    """One case of a problem: extents and the distribution of its inputs."""

    @property
    def key(self) -> str:
        """Short name, used in the keys of a score."""
        ...

    @property
    def flops(self) -> float:
        """Operations that no program can do without."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a launch reads."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What a launch writes."""
        ...


S = TypeVar("S", bound=Shape)


class Problem(Protocol[S]):
    """A kernel task without its clock."""

    rtol: float
    atol: float
    plain: str
    """Source of the plain program that every time is compared with."""

    def shapes(self, split: Split) -> tuple[S, ...]:
        """The timed shapes of a split."""
        ...

    def checks(self) -> tuple[S, ...]:
        """Small shapes that are checked but not timed: odd extents, other widths."""
        ...

    def inputs(self, shape: S, rng: np.random.Generator) -> dict[str, Array]:
        """Fresh inputs, float32, by the names in `shape.inputs`."""
        ...

    def reference(self, shape: S, inputs: dict[str, Array]) -> dict[str, Doubles]:
        """The answer in float64, by the names in `shape.outputs`."""
        ...


def mistake(problem: Problem[S], outputs: dict[str, Array], reference: dict[str, Doubles]) -> str | None:
    """What is wrong with a launch's outputs, or None when every element is finite and within tolerance."""
    for name, wanted in reference.items():
        got = outputs[name]
        finite = np.isfinite(got)
        if not finite.all():
            return f"{name}: {int((~finite).sum())} of {got.size} elements are not finite (or were never written)"
        excess = np.abs(got - wanted) - (problem.atol + problem.rtol * np.abs(wanted))
        if excess.max() > 0:
            at = int(excess.argmax())
            return (
                f"{name}: {int((excess > 0).sum())} of {got.size} elements are out of tolerance; "
                f"the worst is {got.flat[at]:.6g} and should be {wanted.flat[at]:.6g}"
            )
    return None


@functools.cache
def peak_flops(threads: int) -> float:
    """No CPU does more operations a second on so many threads: a bound, several times what this machine reaches.

    A bound and not a measurement, because a machine that is busy while it is measured would turn honest programs
    into suspects.
    """
    return min(threads, os.cpu_count() or threads) * WIDEST_FLOPS_PER_CYCLE * FASTEST_HZ
