"""The gate of a mixture of experts: the best k and their softmax, as a kernel task."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from benchmarks.kernels.problem import Problem, Tensors, Tolerance
from benchmarks.kernels.task import KernelTask
from benchmarks.kernels.topk_gating.inputs import CHECKED, TIMED, TopK, draw
from benchmarks.kernels.topk_gating.reference import compare, exact


class TopKGatingProblem(Problem[TopK]):
    """The problem: which shapes, which inputs, which answer, how near to it."""

    folder = Path(__file__).parent
    tolerances: ClassVar = {
        "float32": Tolerance(
            1e-4,
            1e-6,
            "weights are float32 whatever the logits are: the softmax of k exact inputs errs by a millionth, a "
            "quick exp by some more, one in bfloat16 by 4e-3",
        ),
    }
    timed = TIMED
    checked = CHECKED

    def draw(self, shape: TopK, generator: torch.Generator) -> Tensors:
        """Inputs of one launch."""
        return draw(shape, generator)

    def exact(self, shape: TopK, given: Tensors) -> Tensors:
        """The answer in float64."""
        return exact(given, shape.k)

    def compare(self, outputs: Tensors, reference: Tensors) -> str | None:
        """Chosen logits and weights; any choice among ties is right."""
        return compare(outputs["weights"], outputs["indices"], reference, self.tolerances["float32"])


class TopKGatingTask(KernelTask[TopK]):
    """The task `topk_gating`."""

    name = "topk_gating"
    title = "The gate of a mixture of experts: the best k and their softmax"
    problem = TopKGatingProblem()


TASK = TopKGatingTask()
