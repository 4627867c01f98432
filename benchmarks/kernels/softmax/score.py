"""Softmax: each row of a matrix, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.softmax.inputs import CHECKED, TIMED, Softmax, draw
from benchmarks.kernels.softmax.reference import exact
from benchmarks.kernels.task import KernelTask


class SoftmaxProblem(Problem[Softmax]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "float32": Tolerance(
            1e-3,
            1e-8,
            "exponentials and sums in float32 err by a millionth; a quick exp may err by a thousand times that, "
            "one in bfloat16 (4e-3) may not",
        ),
        "bfloat16": Tolerance(
            1e-2,
            1e-6,
            "rounding the answer costs 2e-3 at most; this is room for another rounding or two, and too little for "
            "a sum in bfloat16",
        ),
        "float16": Tolerance(
            3e-3,
            1e-7,
            "rounding the answer costs 5e-4 at most, 3e-8 where it is subnormal; half the bits of bfloat16's room",
        ),
    }
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: Softmax, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: Softmax, given: Tensors) -> Tensors:
        """The answer in float64."""
        return exact(given)


class SoftmaxTask(KernelTask[Softmax]):
    """The task `softmax`."""

    name = "softmax"
    title = "Softmax: each row of a matrix"
    problem = SoftmaxProblem()


TASK = SoftmaxTask()
