"""Causal attention with grouped queries, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.flash_attention.inputs import CHECKED, TIMED, Attention, draw
from benchmarks.kernels.flash_attention.reference import exact
from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.task import KernelTask


class FlashAttentionProblem(Problem[Attention]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "float32": Tolerance(
            1e-3,
            1e-3,
            "scores of 150 err by 2e-5 in float32, and so do their exponentials; bfloat16 products err by 1e-2 of "
            "the values that are averaged, and TF32 ones by more than 1e-3 where scores are large",
        ),
        "bfloat16": Tolerance(
            1e-2,
            1e-2,
            "probabilities may be rounded to bfloat16 (2e-3) and the answer is; scores may not, for an error of "
            "0.4 in one is 50 % in its exponential",
        ),
        "float16": Tolerance(
            3e-3,
            3e-3,
            "as for bfloat16, with roundings of 5e-4",
        ),
    }
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: Attention, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: Attention, given: Tensors) -> Tensors:
        """The answer in float64."""
        return exact(given)


class FlashAttentionTask(KernelTask[Attention]):
    """The task `flash_attention`."""

    name = "flash_attention"
    title = "Causal attention with grouped queries"
    problem = FlashAttentionProblem()


TASK = FlashAttentionTask()
