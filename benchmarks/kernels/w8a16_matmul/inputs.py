"""Shapes of the product with eight-bit weights, and the inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.draws import Law
from benchmarks.kernels.problem import Case, Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.task import Split


@dataclass(frozen=True)
class W8A16(Case):
    """x [m, k] in sixteen bits, weight [n, k] in eight, one scale for each of the n rows."""

    m: int
    n: int
    k: int
    dtype: str = "bfloat16"
    law: Law = "normal"

    @property
    def flops(self) -> float:
        """Of the matrix product."""
        return 2.0 * self.m * self.n * self.k

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """x, weight and scales."""
        return (
            TensorSpec("x", (self.m, self.k), self.dtype),
            TensorSpec("weight", (self.n, self.k), "int8"),
            TensorSpec("scales", (self.n,)),
        )

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """[m, n]."""
        return (TensorSpec("out", (self.m, self.n), self.dtype),)


TIMED: dict[Device, dict[Split, tuple[W8A16, ...]]] = {
    "cpu": {
        Split.SEARCH: (W8A16(1, 2048, 2048), W8A16(16, 1024, 1024, law="cauchy"), W8A16(128, 768, 768)),
        Split.REPORT: (W8A16(1, 2560, 1536), W8A16(12, 1152, 1024, law="cauchy"), W8A16(144, 640, 768)),
    },
    "cuda": {
        Split.SEARCH: (W8A16(1, 8192, 8192), W8A16(16, 14336, 4096, law="cauchy"), W8A16(2048, 4096, 4096)),
        Split.REPORT: (W8A16(1, 14336, 4096), W8A16(32, 8192, 8192, law="cauchy"), W8A16(4096, 4096, 4096)),
    },
}
SMALL = (
    W8A16(7, 33, 65),
    W8A16(1, 1, 1),
    W8A16(5, 129, 1027, law="cauchy"),
    W8A16(33, 65, 300, law="structured"),
    W8A16(17, 40, 514, law="adversarial"),
    W8A16(9, 31, 130, "float16"),
    W8A16(4, 36, 70, "float16", "adversarial"),
)
CHECKED: dict[Device, tuple[W8A16, ...]] = {
    "cpu": SMALL,
    "cuda": (*SMALL, W8A16(1023, 2049, 513, law="adversarial"), W8A16(3, 127, 4099, "float16")),
}


def draw(shape: W8A16, generator: torch.Generator) -> Tensors:
    """x, weight and scales. Adversarial: scales over five decades, weights that are -128, 127 or 0, and one large input a row."""
    weight = draws.integers(generator, (shape.n, shape.k), -128, 128, torch.int8)
    # Makes outputs of size 1: the weights' standard deviation is 74.
    scales = draws.uniform(generator, (shape.n,), 0.5, 1.5) / (74.0 * shape.k**0.5)
    if shape.law != "adversarial":
        x = draws.values(generator, (shape.m, shape.k), shape.law, shape.dtype)
        return {"x": x, "weight": weight, "scales": scales}
    x = draws.normal(generator, (shape.m, shape.k))
    x[:, -1] = 300.0
    extremes = torch.tensor([-128, 127, 0], dtype=torch.int8, device=generator.device)
    weight = extremes[draws.integers(generator, (shape.n, shape.k), 0, 3)]
    return {"x": x, "weight": weight, "scales": scales * 10.0 ** draws.uniform(generator, (shape.n,), -4.0, 1.0)}
