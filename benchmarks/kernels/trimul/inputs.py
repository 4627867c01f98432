"""The shapes that are timed, and the random inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.kernels.memory import Array
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.kernels.trimul.reference import HIDDEN
from benchmarks.task import Split

Law = Literal["normal", "cauchy"]


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
        """Multiplications and additions of the six projections and of the sum over k."""
        pairs = self.batch * self.n**2
        return 2.0 * pairs * HIDDEN * (6 * self.channels + self.n)

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


TIMED = {
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
}
CHECKED = (
    TriMulShape(32, 1, 128, "cauchy", masked=True),
    TriMulShape(33, 2, 128),
    TriMulShape(17, 1, 768, masked=True),
)
"""Shapes that are checked and not timed. Odd extents are where tiles overrun."""


def draw(shape: TriMulShape, rng: np.random.Generator) -> dict[str, Array]:
    """Fresh float32 inputs of one launch, weights too: nothing that a launch needs was there in an earlier one.

    Projections are drawn as `torch.nn.Linear` initialises them, uniform in ±1/sqrt(fan-in); norms lie around 1 and 0.
    """
    drawn: dict[str, Array] = {}
    for spec in shape.inputs:
        name = spec.name
        if name == "x":
            values = rng.standard_normal(spec.shape, dtype=np.float32)
            if shape.law == "cauchy":
                # A ratio of two normals is a Cauchy variable, and quicker than the library's float64 draw.
                values /= rng.standard_normal(spec.shape, dtype=np.float32) + np.float32(1e-12)
        elif name == "mask":
            values = np.ones(spec.shape, dtype=np.float32)
            if shape.masked:
                values = (rng.random(spec.shape, dtype=np.float32) < 0.5).astype(np.float32)
        elif len(spec.shape) == 1:
            values = np.float32(0.2) * rng.standard_normal(spec.shape, dtype=np.float32)
            values += np.float32(name.endswith("norm_weight"))
        else:
            bound = np.float32(spec.shape[1] ** -0.5)
            values = bound * (2 * rng.random(spec.shape, dtype=np.float32) - 1)
        drawn[name] = values
    return drawn
