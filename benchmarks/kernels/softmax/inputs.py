"""Shapes of softmax, and the inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.problem import Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.kernels.rows import Rows, checked
from benchmarks.task import Split


@dataclass(frozen=True)
class Softmax(Rows):
    """x [rows, cols], softmax over the columns."""

    @property
    def flops(self) -> float:
        """One subtraction, one addition and one multiplication an element; exponentials are not counted."""
        return 3.0 * self.rows * self.cols

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """x."""
        return (TensorSpec("x", (self.rows, self.cols), self.dtype),)


TIMED: dict[Device, dict[Split, tuple[Softmax, ...]]] = {
    "cpu": {
        Split.SEARCH: (Softmax(4096, 512), Softmax(256, 8192, law="cauchy"), Softmax(1000, 3000)),
        Split.REPORT: (Softmax(6144, 384), Softmax(192, 10240, law="cauchy"), Softmax(1200, 2500)),
    },
    "cuda": {
        Split.SEARCH: (
            Softmax(16384, 2048),
            Softmax(8192, 8192, "bfloat16", "cauchy"),
            Softmax(2048, 49152, "bfloat16"),
        ),
        Split.REPORT: (
            Softmax(12288, 3072),
            Softmax(16384, 4096, "bfloat16", "cauchy"),
            Softmax(4096, 32768, "bfloat16"),
        ),
    },
}
CHECKED = checked(Softmax)


def draw(shape: Softmax, generator: torch.Generator) -> Tensors:
    """x. Adversarial rows in turn: values up to 10,000, whose exponentials overflow; one such value in a constant row; a constant
    row, whose answer is 1/cols; and values that are all far below zero."""  # fmt: skip
    extents = (shape.rows, shape.cols)
    if shape.law != "adversarial":
        return {"x": draws.values(generator, extents, shape.law, shape.dtype)}
    x = draws.uniform(generator, extents, -1e4, 1e4)
    x[1::4] = -50.0
    x[1::4, -1] = 1e4
    x[2::4] = 1e4
    x[3::4] = draws.uniform(generator, x[3::4].shape, -1e4, -9990.0)
    return {"x": x}
