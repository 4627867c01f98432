"""A product of sixteen-bit activations with eight-bit weights, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.task import KernelTask
from benchmarks.kernels.w8a16_matmul.inputs import CHECKED, TIMED, W8A16, draw
from benchmarks.kernels.w8a16_matmul.reference import exact


class W8A16MatmulProblem(Problem[W8A16]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "bfloat16": Tolerance(
            1e-2,
            1e-2,
            "scaled weights may be rounded to bfloat16 (2e-3 each, at random) and the answer is; activations in "
            "eight bits err by more",
        ),
        "float16": Tolerance(
            3e-3,
            3e-3,
            "as for bfloat16, with roundings of 5e-4",
        ),
    }
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: W8A16, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: W8A16, given: Tensors) -> Tensors:
        """The answer in float64."""
        return exact(given)


class W8A16MatmulTask(KernelTask[W8A16]):
    """The task `w8a16_matmul`."""

    name = "w8a16_matmul"
    title = "A product of sixteen-bit activations with eight-bit weights"
    problem = W8A16MatmulProblem()


TASK = W8A16MatmulTask()
