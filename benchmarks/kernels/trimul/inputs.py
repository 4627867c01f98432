"""The shapes that are timed, and the random inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.draws import Law
from benchmarks.kernels.problem import Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.kernels.trimul.reference import HIDDEN
from benchmarks.task import Split


@dataclass(frozen=True)
class TriMulShape:
    """Extents of one case: x is [batch, n, n, channels]."""

    n: int
    batch: int
    channels: int
    law: Law = "normal"
    """Distribution of x. Cauchy has outliers that no fixed scale survives."""
    masked: bool = False
    """Whether about half of the pairs are masked out; else the mask is all ones."""

    @property
    def key(self) -> str:
        """For example `N64-B1-C384-normal-masked`."""
        return f"N{self.n}-B{self.batch}-C{self.channels}-{self.law}" + ("-masked" if self.masked else "")

    @property
    def flops(self) -> float:
        """Multiplications and additions of the six projections and of the sum over k. Where half of the pairs are masked
        out, so is half of left and of right: their projections and a quarter of the sum are all that must be done."""
        pairs = self.batch * self.n**2
        kept = 0.5 if self.masked else 1.0
        return 2.0 * pairs * HIDDEN * ((2 + 4 * kept) * self.channels + kept**2 * self.n)

    @property
    def bytes(self) -> float:
        """x, mask and weights read once, the update written once; what lies between could stay in registers."""
        return float(sum(spec.bytes for spec in (*self.inputs, *self.outputs)))

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """x, mask and the ten named weights."""
        pairs = (self.batch, self.n, self.n)
        into, back = (HIDDEN, self.channels), (self.channels, HIDDEN)
        weights = {
            "norm_weight": (self.channels,),
            "norm_bias": (self.channels,),
            "left_weight": into,
            "right_weight": into,
            "left_gate_weight": into,
            "right_gate_weight": into,
            "out_gate_weight": into,
            "out_norm_weight": (HIDDEN,),
            "out_norm_bias": (HIDDEN,),
            "out_weight": back,
        }
        return (
            TensorSpec("x", (*pairs, self.channels)),
            TensorSpec("mask", pairs),
            *(TensorSpec(f"weights.{name}", shape) for name, shape in weights.items()),
        )

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The update, of x's shape."""
        return (TensorSpec("out", (self.batch, self.n, self.n, self.channels)),)


TIMED: dict[Device, dict[Split, tuple[TriMulShape, ...]]] = {
    "cpu": {
        Split.SEARCH: (
            TriMulShape(48, 2, 128),
            TriMulShape(96, 1, 128, "cauchy"),
            TriMulShape(48, 1, 384, masked=True),
        ),
        # Other extents, so that a program tuned to the search shapes and nothing else shows it.
        Split.REPORT: (
            TriMulShape(56, 2, 128),
            TriMulShape(80, 1, 128, "cauchy"),
            TriMulShape(64, 1, 384, masked=True),
        ),
    },
    "cuda": {
        Split.SEARCH: (
            TriMulShape(320, 2, 128),
            TriMulShape(704, 1, 128, "cauchy"),
            TriMulShape(320, 2, 384, masked=True),
            TriMulShape(896, 1, 128, "cauchy"),
            TriMulShape(640, 1, 384, masked=True),
        ),
        # The seven shapes that the published times of this kernel are about.
        Split.REPORT: (
            TriMulShape(256, 2, 128),
            TriMulShape(768, 1, 128, "cauchy"),
            TriMulShape(256, 2, 384, masked=True),
            TriMulShape(512, 1, 128),
            TriMulShape(1024, 1, 128, "cauchy"),
            TriMulShape(768, 1, 384, masked=True),
            TriMulShape(1024, 1, 384),
        ),
    },
}
SMALL = (
    TriMulShape(32, 1, 128, "cauchy", masked=True),
    TriMulShape(33, 2, 128),
    TriMulShape(17, 1, 768, masked=True),
    TriMulShape(20, 1, 128, "structured"),
    TriMulShape(24, 1, 128, "adversarial", masked=True),
)
"""Odd extents are where tiles overrun."""
LAWS: tuple[tuple[Law, bool], ...] = (("normal", False), ("normal", True), ("cauchy", False), ("cauchy", True))
EXTENTS = ((32, 1, 128), (64, 2, 256), (128, 1, 768), (256, 1, 128), (768, 2, 128), (1024, 1, 384))
GRID = tuple(TriMulShape(*extents, law, masked) for extents in EXTENTS for law, masked in LAWS)
"""N from 32 to 1024 and C from 128 to 768, with and without a mask, normal and Cauchy."""
CHECKED: dict[Device, tuple[TriMulShape, ...]] = {
    "cpu": SMALL,
    "cuda": (*SMALL, *GRID, TriMulShape(1024, 1, 768), TriMulShape(1024, 1, 768, "cauchy", masked=True)),
}


def draw(shape: TriMulShape, generator: torch.Generator) -> Tensors:
    """Fresh inputs of one launch, weights too: nothing that a launch needs was there in an earlier one.

    Projections are drawn as `torch.nn.Linear` initialises them, uniform in ±1/sqrt(fan-in); norms lie around 1 and 0.
    Adversarial inputs have pairs whose channels are all alike, far from 0, and rows that are masked out entirely.
    """
    drawn: Tensors = {}
    for spec in shape.inputs:
        name = spec.name
        if name == "x" and shape.law == "adversarial":
            level = draws.uniform(generator, (*spec.shape[:-1], 1), -100.0, 100.0)
            flat = draws.uniform(generator, level.shape) < 0.5
            drawn[name] = level + torch.where(flat, 0.0, draws.normal(generator, spec.shape))
        elif name == "x":
            drawn[name] = draws.values(generator, spec.shape, shape.law)
        elif name == "mask" and shape.masked:
            mask = (draws.uniform(generator, spec.shape) < 0.5).float()
            if shape.law == "adversarial":
                mask[:, :: max(2, shape.n // 4)] = 0.0
            drawn[name] = mask
        elif name == "mask":
            drawn[name] = torch.ones(spec.shape, device=generator.device)
        elif len(spec.shape) == 1:
            drawn[name] = draws.normal(generator, spec.shape, 0.2) + float(name.endswith("norm_weight"))
        else:
            drawn[name] = draws.weight(generator, *spec.shape)
    return drawn
