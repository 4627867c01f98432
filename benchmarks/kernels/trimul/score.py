"""TriMul: the outgoing triangle multiplicative update, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.task import KernelTask
from benchmarks.kernels.trimul.inputs import CHECKED, TIMED, TriMulShape, draw
from benchmarks.kernels.trimul.reference import exact


class TriMul(Problem[TriMulShape]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "float32": Tolerance(
            2e-2, 2e-2,
            "outputs have a standard deviation of about 0.3; products in bfloat16 (8 bits of mantissa) err by 0.01 at worst "
            "and pass, anything coarser does not; these are also the bounds of the public competition for this kernel",
        )
    }  # fmt: skip
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: TriMulShape, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: TriMulShape, given: Tensors) -> Tensors:
        """The update in float64."""
        return exact(given)


class TriMulTask(KernelTask[TriMulShape]):
    """The task `trimul`."""

    name = "trimul"
    title = "TriMul: the outgoing triangle multiplicative update of AlphaFold 3"
    problem = TriMul()


TASK = TriMulTask()
