"""Shapes of layer norm with GELU, and the inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.problem import Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.kernels.rows import Rows, checked
from benchmarks.task import Split


@dataclass(frozen=True)
class LayerNormGelu(Rows):
    """x [rows, cols], one weight and one bias a column."""

    @property
    def flops(self) -> float:
        """Mean, centred square, scale, shift and the product of GELU: 8 an element; the error function is not counted."""
        return 8.0 * self.rows * self.cols

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """x, weight and bias."""
        column = (self.cols,)
        return (
            TensorSpec("x", (self.rows, self.cols), self.dtype),
            TensorSpec("weight", column, self.dtype),
            TensorSpec("bias", column, self.dtype),
        )


TIMED: dict[Device, dict[Split, tuple[LayerNormGelu, ...]]] = {
    "cpu": {
        Split.SEARCH: (
            LayerNormGelu(4096, 512),
            LayerNormGelu(512, 4096, law="cauchy"),
            LayerNormGelu(1000, 2000),
        ),
        Split.REPORT: (
            LayerNormGelu(5120, 384),
            LayerNormGelu(640, 3584, law="cauchy"),
            LayerNormGelu(1300, 1500),
        ),
    },
    "cuda": {
        Split.SEARCH: (
            LayerNormGelu(16384, 2048),
            LayerNormGelu(8192, 8192, "bfloat16", "cauchy"),
            LayerNormGelu(32768, 2048, "bfloat16"),
        ),
        Split.REPORT: (
            LayerNormGelu(12288, 3072),
            LayerNormGelu(16384, 4096, "bfloat16", "cauchy"),
            LayerNormGelu(8192, 7168, "bfloat16"),
        ),
    },
}
CHECKED = checked(LayerNormGelu)


def draw(shape: LayerNormGelu, generator: torch.Generator) -> Tensors:
    """x, weight and bias. Adversarial rows in turn: a thousand deviations away from zero, where the mean square minus the squared
    mean is noise; all alike, where it can be negative; zeros; and values whose squares leave the range of float16."""  # fmt: skip
    extents = (shape.rows, shape.cols)
    weight = 1.0 + draws.normal(generator, (shape.cols,), 0.2)
    bias = draws.normal(generator, (shape.cols,), 0.2)
    if shape.law != "adversarial":
        return {"x": draws.values(generator, extents, shape.law, shape.dtype), "weight": weight, "bias": bias}
    x = draws.normal(generator, extents)
    x[0::4] = 300.0 + 0.3 * x[0::4]
    x[1::4] = draws.integers(generator, (shape.rows, 1), -200, 200)[1::4].float()
    x[2::4] = 0.0
    x[3::4] *= 1e4
    return {"x": x, "weight": weight, "bias": bias}
