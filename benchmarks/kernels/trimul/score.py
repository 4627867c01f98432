"""TriMul: the outgoing triangle multiplicative update, as a kernel task."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.kernels.memory import Array
from benchmarks.kernels.problem import Doubles
from benchmarks.kernels.task import KernelTask
from benchmarks.kernels.trimul.inputs import CHECKED, TIMED, TriMulShape, draw
from benchmarks.kernels.trimul.reference import reference
from benchmarks.task import Split


class TriMul:
    """The problem: which shapes, which inputs, which answer, how near to it."""

    rtol = 2e-2
    atol = 2e-2
    """Outputs have a standard deviation of about 0.3. These let matrix products run in bfloat16 (8 bits of mantissa, errors
    of about 0.01 at worst) and stop anything coarser. They are those of the public competition for this kernel."""
    plain = (Path(__file__).parent / "seed" / "harness.py").read_text()

    def shapes(self, split: Split) -> tuple[TriMulShape, ...]:
        """The timed shapes of a split."""
        return TIMED[split]

    def checks(self) -> tuple[TriMulShape, ...]:
        """Shapes that are checked and not timed."""
        return CHECKED

    def inputs(self, shape: TriMulShape, rng: np.random.Generator) -> dict[str, Array]:
        """Fresh inputs of one launch."""
        return draw(shape, rng)

    def reference(self, shape: TriMulShape, inputs: dict[str, Array]) -> dict[str, Doubles]:
        """The answer in float64."""
        return {"out": reference(inputs)}


class TriMulTask(KernelTask[TriMulShape]):
    """The task `trimul`."""

    name = "trimul"
    title = "TriMul: the outgoing triangle multiplicative update of AlphaFold 3, on a CPU"
    problem = TriMul()


TASK = TriMulTask()
