"""Shapes of the rotary embedding, and the inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.draws import Law
from benchmarks.kernels.problem import Case, Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.task import Split


@dataclass(frozen=True)
class Rope(Case):
    """q [batch, tokens, heads, width] and k [batch, tokens, groups, width], rotated by tables of `reach` positions."""

    batch: int
    tokens: int
    heads: int
    groups: int
    width: int
    reach: int
    dtype: str = "float32"
    law: Law = "normal"

    @property
    def flops(self) -> float:
        """Four multiplications and two additions a pair."""
        return 3.0 * self.batch * self.tokens * (self.heads + self.groups) * self.width

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """q, k, the positions of the tokens, and the tables."""
        table = (self.reach, self.width // 2)
        return (
            TensorSpec("q", (self.batch, self.tokens, self.heads, self.width), self.dtype),
            TensorSpec("k", (self.batch, self.tokens, self.groups, self.width), self.dtype),
            TensorSpec("positions", (self.batch, self.tokens), "int32"),
            TensorSpec("cosines", table),
            TensorSpec("sines", table),
        )

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """q and k, rotated."""
        return (
            TensorSpec("q_out", (self.batch, self.tokens, self.heads, self.width), self.dtype),
            TensorSpec("k_out", (self.batch, self.tokens, self.groups, self.width), self.dtype),
        )

    @property
    def bytes(self) -> float:
        """q, k and positions read, q and k written; the tables are left out, for not every position need occur."""
        moved = [*self.inputs[:3], *self.outputs]
        return float(sum(spec.bytes for spec in moved))


TIMED: dict[Device, dict[Split, tuple[Rope, ...]]] = {
    "cpu": {
        Split.SEARCH: (Rope(1, 1024, 16, 4, 64, 4096), Rope(4, 256, 8, 8, 128, 2048, law="cauchy")),
        Split.REPORT: (Rope(1, 896, 16, 4, 64, 4096), Rope(3, 320, 10, 5, 128, 2048, law="cauchy")),
    },
    "cuda": {
        Split.SEARCH: (
            Rope(4, 4096, 32, 8, 128, 8192, "bfloat16"),
            Rope(8, 2048, 16, 16, 64, 4096, law="cauchy"),
            Rope(1, 16384, 32, 8, 128, 32768, "bfloat16"),
        ),
        Split.REPORT: (
            Rope(3, 6144, 32, 8, 128, 8192, "bfloat16"),
            Rope(8, 3072, 16, 16, 64, 4096, law="cauchy"),
            Rope(1, 24576, 32, 4, 128, 32768, "bfloat16"),
        ),
    },
}
SMALL = (
    Rope(1, 7, 2, 1, 16, 40),
    Rope(2, 1, 1, 1, 2, 1),
    Rope(1, 33, 3, 1, 34, 64, law="cauchy"),
    Rope(1, 20, 4, 2, 64, 256, law="structured"),
    Rope(2, 17, 4, 2, 48, 1000, law="adversarial"),
    Rope(2, 17, 4, 2, 64, 1000, "bfloat16", "adversarial"),
    Rope(1, 9, 2, 2, 32, 100, "float16"),
)
CHECKED: dict[Device, tuple[Rope, ...]] = {
    "cpu": SMALL,
    "cuda": (*SMALL, Rope(2, 1023, 24, 8, 96, 5000, "bfloat16", "adversarial"), Rope(1, 513, 5, 1, 256, 600)),
}


def draw(shape: Rope, generator: torch.Generator) -> Tensors:
    """q, k, positions and tables. The base of the angles is drawn too, so the tables must be read. Positions count up from a random
    start; adversarial ones are in any order, the last among them, and half of q and k is zero."""  # fmt: skip
    specs = {spec.name: spec.shape for spec in shape.inputs}
    base = float(draws.uniform(generator, (1,), 5e3, 5e5))
    places = torch.arange(shape.reach, dtype=torch.float64, device=generator.device)
    turns = torch.arange(0, shape.width, 2, dtype=torch.float64, device=generator.device) / shape.width
    angles = places[:, None] * base**-turns
    start = draws.integers(generator, (shape.batch, 1), 0, max(1, shape.reach - shape.tokens))
    positions = (start + torch.arange(shape.tokens, device=start.device)).clamp_(max=shape.reach - 1)
    drawn: Tensors = {"cosines": angles.cos(), "sines": angles.sin(), "positions": positions}
    for name in ("q", "k"):
        law: Law = "normal" if shape.law == "adversarial" else shape.law
        drawn[name] = draws.values(generator, specs[name], law, shape.dtype)
    if shape.law == "adversarial":
        drawn["positions"] = draws.integers(generator, specs["positions"], 0, shape.reach)
        drawn["positions"][:, 0] = shape.reach - 1
        drawn["q"][..., shape.width // 2 :] = 0.0
        drawn["k"][..., : shape.width // 2] = 0.0
    return drawn
