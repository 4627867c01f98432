"""Cross entropy of each row of logits, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.cross_entropy.inputs import CHECKED, TIMED, CrossEntropy, draw
from benchmarks.kernels.cross_entropy.reference import exact
from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.task import KernelTask


class CrossEntropyProblem(Problem[CrossEntropy]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "float32": Tolerance(
            1e-4,
            1e-4,
            "losses are float32 whatever the logits are: a sum of exponentials errs by 1e-6 of itself and its "
            "logarithm by as much. Where logits are large, the loss is a difference of large numbers, which the "
            "scale allows for",
        ),
    }
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: CrossEntropy, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: CrossEntropy, given: Tensors) -> Tensors:
        """The answer in float64."""
        return exact(given, self.tolerances["float32"].atol)


class CrossEntropyTask(KernelTask[CrossEntropy]):
    """The task `cross_entropy`."""

    name = "cross_entropy"
    title = "Cross entropy of each row of logits"
    problem = CrossEntropyProblem()


TASK = CrossEntropyTask()
