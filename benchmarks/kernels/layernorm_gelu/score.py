"""Layer norm followed by GELU, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.layernorm_gelu.inputs import CHECKED, TIMED, LayerNormGelu, draw
from benchmarks.kernels.layernorm_gelu.reference import exact
from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.task import KernelTask


class LayerNormGeluProblem(Problem[LayerNormGelu]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "float32": Tolerance(
            1e-4,
            1e-4,
            "two sums in float32 err by 1e-6; the form of GELU with tanh is wrong by up to 5e-4 and another "
            "function. A mean far from zero errs by some of its last bits, which the scale allows for",
        ),
        "bfloat16": Tolerance(
            1e-2,
            1e-2,
            "rounding the answer costs 2e-3 of it, and the answer may be rounded once before GELU",
        ),
        "float16": Tolerance(
            3e-3,
            2e-3,
            "rounding the answer costs 5e-4 of it, and the answer may be rounded once before GELU",
        ),
    }
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: LayerNormGelu, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: LayerNormGelu, given: Tensors) -> Tensors:
        """The answer in float64."""
        return exact(given, self.tolerances[shape.dtype].atol)


class LayerNormGeluTask(KernelTask[LayerNormGelu]):
    """The task `layernorm_gelu`."""

    name = "layernorm_gelu"
    title = "Layer norm followed by GELU"
    problem = LayerNormGeluProblem()


TASK = LayerNormGeluTask()
