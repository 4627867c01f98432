"""A linear layer with bias and SiLU, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.matmul_bias_act.inputs import CHECKED, TIMED, MatmulBiasAct, draw
from benchmarks.kernels.matmul_bias_act.reference import exact
from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.task import KernelTask


class MatmulBiasActProblem(Problem[MatmulBiasAct]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "float32": Tolerance(
            2e-4,
            2e-4,
            "a float32 sum of products errs by some 1e-6 of their spread, one of bfloat16 or TF32 products by "
            "1e-3 or more: float32 means float32 here, though products of split operands may make it up",
        ),
        "bfloat16": Tolerance(
            1e-2,
            1e-2,
            "products of bfloat16 are exact in float32; the sum, the bias and the activation may each be rounded "
            "(2e-3). Eight-bit operands err by more",
        ),
        "float16": Tolerance(
            3e-3,
            3e-3,
            "as for bfloat16, with roundings of 5e-4",
        ),
    }
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: MatmulBiasAct, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: MatmulBiasAct, given: Tensors) -> Tensors:
        """The answer in float64."""
        return exact(given)


class MatmulBiasActTask(KernelTask[MatmulBiasAct]):
    """The task `matmul_bias_act`."""

    name = "matmul_bias_act"
    title = "A linear layer with bias and SiLU"
    problem = MatmulBiasActProblem()


TASK = MatmulBiasActTask()
