"""Rotary embedding of queries and keys, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.rope.inputs import CHECKED, TIMED, Rope, draw
from benchmarks.kernels.rope.reference import exact
from benchmarks.kernels.task import KernelTask


class RopeProblem(Problem[Rope]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "float32": Tolerance(
            1e-5,
            1e-5,
            "two products and a sum in float32 err by 2e-7 of the pair's length; tables in sixteen bits are a "
            "thousand times coarser",
        ),
        "bfloat16": Tolerance(
            1e-2,
            1e-2,
            "rounding the answer costs 2e-3; this is room for products rounded to bfloat16, which stand for the "
            "pair's length",
        ),
        "float16": Tolerance(
            3e-3,
            3e-3,
            "as for bfloat16, with roundings of 5e-4",
        ),
    }
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: Rope, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: Rope, given: Tensors) -> Tensors:
        """The answer in float64."""
        return exact(given)


class RopeTask(KernelTask[Rope]):
    """The task `rope`."""

    name = "rope"
    title = "Rotary embedding of queries and keys"
    problem = RopeProblem()


TASK = RopeTask()
