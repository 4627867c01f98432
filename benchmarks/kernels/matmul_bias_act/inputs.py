"""Shapes of the fused linear layer, and the inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.draws import Law
from benchmarks.kernels.problem import Case, Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.task import Split


@dataclass(frozen=True)
class MatmulBiasAct(Case):
    """x [m, k] times weight [n, k] transposed, plus bias [n]."""

    m: int
    n: int
    k: int
    dtype: str = "float32"
    law: Law = "normal"

    @property
    def flops(self) -> float:
        """Of the matrix product."""
        return 2.0 * self.m * self.n * self.k

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """x, weight and bias."""
        return (
            TensorSpec("x", (self.m, self.k), self.dtype),
            TensorSpec("weight", (self.n, self.k), self.dtype),
            TensorSpec("bias", (self.n,), self.dtype),
        )

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """[m, n]."""
        return (TensorSpec("out", (self.m, self.n), self.dtype),)


TIMED: dict[Device, dict[Split, tuple[MatmulBiasAct, ...]]] = {
    "cpu": {
        Split.SEARCH: (
            MatmulBiasAct(512, 1024, 512),
            MatmulBiasAct(2048, 512, 256, law="cauchy"),
            MatmulBiasAct(512, 768, 768, "bfloat16"),
        ),
        Split.REPORT: (
            MatmulBiasAct(384, 1280, 512),
            MatmulBiasAct(1600, 640, 256, law="cauchy"),
            MatmulBiasAct(640, 896, 640, "bfloat16"),
        ),
    },
    "cuda": {
        Split.SEARCH: (
            MatmulBiasAct(4096, 4096, 4096, "bfloat16"),
            MatmulBiasAct(8192, 4096, 1024, "bfloat16", "cauchy"),
            MatmulBiasAct(512, 8192, 4096, "bfloat16"),
        ),
        Split.REPORT: (
            MatmulBiasAct(8192, 8192, 2048, "bfloat16"),
            MatmulBiasAct(4096, 11008, 4096, "bfloat16", "cauchy"),
            MatmulBiasAct(256, 14336, 4096, "bfloat16"),
        ),
    },
}
SMALL = (
    MatmulBiasAct(7, 33, 65),
    MatmulBiasAct(1, 1, 1),
    MatmulBiasAct(5, 129, 4099, law="cauchy"),
    MatmulBiasAct(33, 65, 300, law="structured"),
    MatmulBiasAct(17, 40, 514, law="adversarial"),
    MatmulBiasAct(40, 70, 258, "bfloat16", "adversarial"),
    MatmulBiasAct(9, 31, 130, "float16", "structured"),
)
CHECKED: dict[Device, tuple[MatmulBiasAct, ...]] = {
    "cpu": SMALL,
    "cuda": (*SMALL, MatmulBiasAct(1023, 2049, 513, "bfloat16", "adversarial"), MatmulBiasAct(257, 127, 1025)),
}


def draw(shape: MatmulBiasAct, generator: torch.Generator) -> Tensors:
    """x, weight and bias. Adversarial: products of size 100 that cancel in pairs up to a small rest, so that a sum which is rounded
    on the way is left with noise; and biases of size 50, where the activation is flat or saturates."""  # fmt: skip
    weight = draws.weight(generator, shape.n, shape.k)
    bias = draws.normal(generator, (shape.n,), 0.2)
    if shape.law == "adversarial":
        x = draws.normal(generator, (shape.m, shape.k))
        half = shape.k // 2
        # The same large value meets the weights +w and -w.
        x[:, half : 2 * half] = 100.0 * x[:, :half].sign()
        x[:, :half] = x[:, half : 2 * half]
        weight[:, half : 2 * half] = -weight[:, :half]
        x[:, :half] += draws.normal(generator, (shape.m, half))
        return {"x": x, "weight": weight, "bias": 50.0 * bias.sign()}
    if shape.law == "structured":
        weight = draws.structured(generator, (shape.n, shape.k)) / shape.k**0.5
    return {"x": draws.values(generator, (shape.m, shape.k), shape.law, shape.dtype), "weight": weight, "bias": bias}
