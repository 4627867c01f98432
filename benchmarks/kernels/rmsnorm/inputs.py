"""Shapes of RMSNorm, and the inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.problem import Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.kernels.rows import Rows, checked
from benchmarks.task import Split


@dataclass(frozen=True)
class RMSNorm(Rows):
    """x [rows, cols], one weight a column."""

    @property
    def flops(self) -> float:
        """A square, an addition and two multiplications an element."""
        return 4.0 * self.rows * self.cols

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """x and the weight."""
        return TensorSpec("x", (self.rows, self.cols), self.dtype), TensorSpec("weight", (self.cols,), self.dtype)


TIMED: dict[Device, dict[Split, tuple[RMSNorm, ...]]] = {
    "cpu": {
        Split.SEARCH: (RMSNorm(4096, 512), RMSNorm(512, 4096, law="cauchy"), RMSNorm(1024, 2048, "bfloat16")),
        Split.REPORT: (RMSNorm(5120, 384), RMSNorm(640, 3584, law="cauchy"), RMSNorm(800, 2560, "bfloat16")),
    },
    "cuda": {
        Split.SEARCH: (
            RMSNorm(16384, 2048),
            RMSNorm(8192, 8192, "bfloat16", "cauchy"),
            RMSNorm(32768, 2048, "bfloat16"),
        ),
        Split.REPORT: (
            RMSNorm(12288, 3072),
            RMSNorm(16384, 4096, "bfloat16", "cauchy"),
            RMSNorm(8192, 7168, "bfloat16"),
        ),
    },
}
CHECKED = checked(RMSNorm)


def draw(shape: RMSNorm, generator: torch.Generator) -> Tensors:
    """x and the weight. Adversarial rows in turn: zeros; values so small that epsilon decides; values whose squares leave the
    range of float16; and zeros but for one element."""  # fmt: skip
    extents = (shape.rows, shape.cols)
    weight = 1.0 + draws.normal(generator, (shape.cols,), 0.2)
    if shape.law != "adversarial":
        return {"x": draws.values(generator, extents, shape.law, shape.dtype), "weight": weight}
    x = draws.normal(generator, extents)
    x[0::4] = 0.0
    x[1::4] *= 1e-3
    x[2::4] *= 1e4
    x[3::4, 1:] = 0.0
    return {"x": x, "weight": weight}
