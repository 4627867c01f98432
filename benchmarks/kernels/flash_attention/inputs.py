"""Shapes of causal attention with grouped queries, and the inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.draws import Law
from benchmarks.kernels.problem import Case, Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.task import Split


@dataclass(frozen=True)
class Attention(Case):
    """q [batch, heads, tokens, width]; keys and values have `groups` heads, each shared by heads / groups queries."""

    batch: int
    heads: int
    groups: int
    tokens: int
    width: int
    dtype: str = "float32"
    law: Law = "normal"

    @property
    def flops(self) -> float:
        """Of the two products below the diagonal, which is included."""
        return 4.0 * self.batch * self.heads * self.width * self.tokens * (self.tokens + 1) / 2

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """q, k and v."""
        shared = (self.batch, self.groups, self.tokens, self.width)
        return (
            TensorSpec("q", (self.batch, self.heads, self.tokens, self.width), self.dtype),
            TensorSpec("k", shared, self.dtype),
            TensorSpec("v", shared, self.dtype),
        )

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Of q's shape and dtype."""
        return (TensorSpec("out", (self.batch, self.heads, self.tokens, self.width), self.dtype),)


TIMED: dict[Device, dict[Split, tuple[Attention, ...]]] = {
    "cpu": {
        Split.SEARCH: (
            Attention(1, 8, 2, 384, 64),
            Attention(2, 4, 4, 256, 64, law="cauchy"),
            Attention(1, 4, 1, 512, 32),
        ),
        Split.REPORT: (
            Attention(1, 8, 2, 448, 64),
            Attention(2, 6, 6, 224, 64, law="cauchy"),
            Attention(1, 4, 1, 576, 32),
        ),
    },
    "cuda": {
        Split.SEARCH: (
            Attention(4, 32, 8, 2048, 128, "bfloat16"),
            Attention(8, 16, 16, 1024, 64, "bfloat16", "cauchy"),
            Attention(1, 32, 8, 6144, 128, "bfloat16"),
        ),
        Split.REPORT: (
            Attention(2, 32, 8, 3072, 128, "bfloat16"),
            Attention(16, 16, 16, 768, 64, "bfloat16", "cauchy"),
            Attention(1, 32, 4, 8192, 128, "bfloat16"),
        ),
    },
}
SMALL = (
    Attention(1, 2, 1, 33, 16),
    Attention(2, 2, 2, 1, 16),
    Attention(1, 4, 2, 65, 32, law="cauchy"),
    Attention(1, 2, 1, 70, 64, law="structured"),
    Attention(1, 3, 1, 50, 32, law="adversarial"),
    Attention(1, 4, 2, 40, 64, "bfloat16", "adversarial"),
    Attention(1, 2, 2, 34, 16, "float16"),
)
CHECKED: dict[Device, tuple[Attention, ...]] = {
    "cpu": SMALL,
    "cuda": (*SMALL, Attention(1, 8, 2, 1023, 128, "bfloat16", "adversarial"), Attention(2, 4, 4, 513, 64)),
}


def draw(shape: Attention, generator: torch.Generator) -> Tensors:
    """q, k and v. Cauchy values stand in v alone: in q or k they would make float32 scores meaningless for everyone.
    Adversarial: scores around 150, whose exponentials overflow, and from row to row either all alike or won by one key."""  # fmt: skip
    specs = {spec.name: spec.shape for spec in shape.inputs}
    q, k = (draws.normal(generator, specs[name]) for name in ("q", "k"))
    v = draws.values(generator, specs["v"], "normal" if shape.law == "adversarial" else shape.law, shape.dtype)
    if shape.law == "structured":
        q, k = (draws.structured(generator, specs[name]) for name in ("q", "k"))
    if shape.law == "adversarial":
        q[..., 0], k[..., 0] = 12.5 * shape.width**0.5, 12.0
        q[..., 1::2, 1:] *= 6.0
    return {"q": q, "k": k, "v": v}
