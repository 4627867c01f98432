"""Shapes of kernels that work on each row of a matrix by itself: softmax and the norms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from benchmarks.kernels.draws import Law
from benchmarks.kernels.problem import Case, Device
from benchmarks.kernels.protocol import TensorSpec

R = TypeVar("R", bound="Rows")


@dataclass(frozen=True)
class Rows(Case):
    """x [rows, cols], and an output like it."""

    rows: int
    cols: int
    dtype: str = "float32"
    law: Law = "normal"

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Of x's shape and dtype."""
        return (TensorSpec("out", (self.rows, self.cols), self.dtype),)


def checked(kind: type[R]) -> dict[Device, tuple[R, ...]]:
    """Shapes that are checked and not timed: odd extents, one column, every law and dtype."""
    small = (
        kind(7, 33),
        kind(3, 1),
        kind(5, 4097, law="cauchy"),
        kind(16, 300, law="structured"),
        kind(12, 513, law="adversarial"),
        kind(12, 257, "bfloat16", "adversarial"),
        kind(9, 130, "float16", "adversarial"),
    )
    return {"cpu": small, "cuda": (*small, kind(1023, 12289, "bfloat16", "adversarial"), kind(65537, 127))}
