"""A kernel small enough to be run by the hundred: out = x² + shift, in any dtype of the wire."""

from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.kernels.plan import QUICK
from benchmarks.kernels.problem import Case, Problem, Tolerance
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.kernels.rounds import Run
from benchmarks.kernels.task import KernelTask, score_of
from benchmarks.task import Candidate, Split

SEED = "def kernel(x, weights, out):\n    out.copy_(x * x + weights['shift'])\n"
DTYPES = ("float32", "bfloat16", "float16", "int8", "int32", "int64")


@dataclass(frozen=True)
class Vector(Case):
    items: int = 50_000
    dtype: str = "float32"

    @property
    def flops(self):
        return 2.0 * self.items

    @property
    def inputs(self):
        return TensorSpec("x", (self.items,), self.dtype), TensorSpec("weights.shift", (self.items,), self.dtype)

    @property
    def outputs(self):
        return (TensorSpec("out", (self.items,), self.dtype),)


class Square(Problem[Vector]):
    folder = Path()
    plain = SEED
    narrowest = "float32"

    def __init__(self, *timed):
        self.tolerances = {d: Tolerance(0.02 if "float" in d else 0.0, 0.02, "rounded twice") for d in DTYPES}
        self.checked = {"cpu": (Vector(33),)}
        self.timed = {"cpu": dict.fromkeys(Split, timed or (Vector(),))}

    def draw(self, shape, generator):
        return {s.name: torch.randint(-5, 6, s.shape, generator=generator) for s in shape.inputs}

    def exact(self, shape, given):
        return {"out": given["x"] * given["x"] + given["weights.shift"]}


class SquareTask(KernelTask[Vector]):
    name = "square"
    title = "x² + shift"

    def __init__(self, *timed):
        self.problem = Square(*timed)


def scores(task, sources, bench, plan=QUICK):
    """Scores of programs (a dictionary of sources) in one run, and the run."""
    run = Run(task.problem, Split.SEARCH, plan, 11, task.target)
    candidates = [Candidate(source=source, name=name) for name, source in sources.items()]
    entrants = run.run(candidates, bench, task.image, task.limits)
    return {e.candidate.name: score_of(e, run, bench) for e in entrants}, run
