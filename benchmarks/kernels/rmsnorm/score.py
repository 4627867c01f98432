"""RMSNorm: rows over their root mean square, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.rmsnorm.inputs import CHECKED, TIMED, RMSNorm, draw
from benchmarks.kernels.rmsnorm.reference import exact
from benchmarks.kernels.task import KernelTask


class RMSNormProblem(Problem[RMSNorm]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "float32": Tolerance(
            2e-4,
            1e-5,
            "sums in float32 err by a millionth and a quick reciprocal root by 6e-5; anything in sixteen bits "
            "errs by more than 2e-4",
        ),
        "bfloat16": Tolerance(
            1e-2,
            1e-3,
            "rounding the answer costs 2e-3 at most; this is room for another rounding or two, and too little for "
            "a sum in bfloat16",
        ),
        "float16": Tolerance(
            3e-3,
            1e-4,
            "rounding the answer costs 5e-4 at most; squares do not fit float16 and have to be summed in float32",
        ),
    }
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: RMSNorm, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: RMSNorm, given: Tensors) -> Tensors:
        """The answer in float64."""
        return exact(given)


class RMSNormTask(KernelTask[RMSNorm]):
    """The task `rmsnorm`."""

    name = "rmsnorm"
    title = "RMSNorm: rows over their root mean square"
    problem = RMSNormProblem()


TASK = RMSNormTask()
