"""Shapes of the gate of a mixture of experts, and the inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.draws import Law
from benchmarks.kernels.problem import Case, Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.task import Split


@dataclass(frozen=True)
class TopK(Case):
    """logits [tokens, experts], of which each token gets k."""

    tokens: int
    experts: int
    k: int
    dtype: str = "float32"
    law: Law = "normal"

    @property
    def flops(self) -> float:
        """One comparison a logit."""
        return 1.0 * self.tokens * self.experts

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """logits."""
        return (TensorSpec("logits", (self.tokens, self.experts), self.dtype),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Weights and indices of the chosen experts."""
        chosen = (self.tokens, self.k)
        return TensorSpec("weights", chosen), TensorSpec("indices", chosen, "int32")


TIMED: dict[Device, dict[Split, tuple[TopK, ...]]] = {
    "cpu": {
        Split.SEARCH: (TopK(8192, 64, 8), TopK(16384, 16, 2, law="cauchy"), TopK(2048, 256, 8)),
        Split.REPORT: (TopK(7168, 72, 6), TopK(12288, 24, 2, law="cauchy"), TopK(1792, 288, 8)),
    },
    "cuda": {
        Split.SEARCH: (TopK(131072, 64, 8), TopK(262144, 16, 2, law="cauchy"), TopK(65536, 256, 8, "bfloat16")),
        Split.REPORT: (TopK(98304, 128, 8), TopK(196608, 32, 4, law="cauchy"), TopK(49152, 384, 8, "bfloat16")),
    },
}
SMALL = (
    TopK(7, 33, 3),
    TopK(3, 1, 1),
    TopK(5, 8, 8),
    TopK(65, 200, 8, law="cauchy"),
    TopK(16, 60, 6, law="structured"),
    TopK(24, 64, 8, law="adversarial"),
    TopK(24, 40, 4, "bfloat16", "adversarial"),
)
CHECKED: dict[Device, tuple[TopK, ...]] = {
    "cpu": SMALL,
    "cuda": (*SMALL, TopK(1023, 257, 8, "bfloat16", "adversarial"), TopK(65537, 100, 5)),
}


def draw(shape: TopK, generator: torch.Generator) -> Tensors:
    """logits. Adversarial rows in turn: all alike; small whole numbers, full of ties; values up to 1,000, so that all but one probability
    is zero and only the logits tell the order; and a row whose best come last."""  # fmt: skip
    extents = (shape.tokens, shape.experts)
    if shape.law != "adversarial":
        return {"logits": draws.values(generator, extents, shape.law, shape.dtype)}
    logits = draws.uniform(generator, extents, -1e3, 1e3)
    logits[0::4] = 3.0
    logits[1::4] = draws.integers(generator, extents, -2, 3)[1::4].float()
    logits[3::4] = torch.arange(shape.experts, device=logits.device) / 8.0
    return {"logits": logits}
