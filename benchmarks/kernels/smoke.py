"""The smoke case of a kernel: one launch of a small shape, checked like any other, and timed by nobody."""

from __future__ import annotations

import random

import numpy as np

from benchmarks.faults import once_more
from benchmarks.kernels.channel import Ended
from benchmarks.kernels.opening import program
from benchmarks.kernels.problem import Problem, S, mistake
from benchmarks.kernels.target import Target
from benchmarks.program import SMOKE_S
from benchmarks.smoke import SMOKE_SEED, failed
from benchmarks.task import Bench, Candidate, Score, Stage, Verdict
from sandboxes.base import Limits


def smoke(problem: Problem[S], target: Target, image: str, limits: Limits, candidate: Candidate, bench: Bench) -> Score:
    """See `Task.smoke`. The shape is the first checked one; its inputs are drawn like all, from a public seed."""
    shape = problem.checks(target.name)[0]
    inputs = problem.inputs(shape, np.random.default_rng(SMOKE_SEED), target.name)
    answer = problem.reference(shape, inputs)

    def once() -> Score:
        at, seen = Stage.PARSE, {"backend": bench.sandboxes.name}
        try:
            with program(candidate, image, limits, bench, target) as running:
                seen = {"image": running.image, "backend": running.backend}
                try:
                    running.connect()
                    running.live()
                    running.loaded()
                    timed = running.time(
                        [inputs], shape.inputs, shape.outputs, wall_s=SMOKE_S, rng=random.Random(SMOKE_SEED)
                    )
                except Ended:
                    at = running.stage()
                    raise
                wrong = mistake(problem, timed.outputs[0], answer)
        except Ended as ended:
            return failed(at, ended.verdict, ended.reason, **seen)
        if wrong is not None:
            return failed(Stage.SMOKE, Verdict.WRONG, f"{shape.key}: {wrong}", **seen)
        return Score(verdict=Verdict.OK, stage=Stage.READY, **seen)

    return once_more(once, bench.progress)
