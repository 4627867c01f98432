"""A kernel task: race the candidates and turn block times into scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np

from benchmarks.kernels.clock import THREADS
from benchmarks.kernels.problem import Doubles, Problem, S, peak_flops
from benchmarks.kernels.rounds import FULL, QUICK, Entrant, Plan, Run
from benchmarks.task import Bench, Candidate, Direction, Metric, Score, Split, Task, Verdict
from results.stats import bootstrap_mean
from sandboxes.base import MIB, Limits

TOGETHER = 5
"""Candidates in one run. Each holds a sandbox with a loaded torch for as long as the run takes."""


class KernelTask(Task, Generic[S]):
    """Scores kernels by how many times faster than the plain program they are."""

    problem: Problem[S]
    metric = Metric("speedup", "x over the plain program", Direction.UP, log_units=True)
    image = "kernels"
    limits = Limits(memory_bytes=1536 * MIB, cpus=float(THREADS), wall_s=900.0, scratch_bytes=256 * MIB)

    def score(self, candidates: Sequence[Candidate], split: Split, seed: int, bench: Bench) -> list[Score]:
        """Race the candidates, a few at a time, all on the same inputs. See `Task.score`."""
        scores: list[Score] = []
        for first in range(0, len(candidates), TOGETHER):
            scores += race(self.problem, candidates[first : first + TOGETHER], split, seed, bench, self)
        return scores


def race(
    problem: Problem[S], candidates: Sequence[Candidate], split: Split, seed: int, bench: Bench, task: Task
) -> list[Score]:
    """Time the candidates in one run and score them, in order. Raises SandboxError for a fault of ours."""
    plan = QUICK if bench.quick else FULL
    run = Run(problem, plan, seed)
    entrants = run.run(candidates, split, bench, task.image, task.limits)
    return [score_of(entrant, run, problem.shapes(split), plan, bench) for entrant in entrants]


@dataclass(frozen=True)
class ShapeTimes:
    """One shape's times of a launch in seconds, the protocol's cost taken off; arrays are by block."""

    times: Doubles
    plain: Doubles
    protocol: float
    floor: float
    too_fast: bool
    """True when half of the blocks or more are at the floor, where no honest program can be."""


def shape_times(entrant: Entrant, run: Run[S], shape: S, launches: int) -> ShapeTimes:
    """Take the empty kernel's median off each block. Single blocks are kept at or above the floor, so that one lucky
    subtraction can't become an enormous logarithm."""  # fmt: skip
    floor = shape.flops / peak_flops(THREADS)
    protocol = float(np.median(run.empty.seconds[shape.key]))
    times, plain = (
        np.maximum((np.array(e.seconds[shape.key]) - protocol) / launches, floor) for e in (entrant, run.plain)
    )
    return ShapeTimes(times, plain, protocol, floor, bool(np.median(times) <= floor))


def score_of(entrant: Entrant, run: Run[S], shapes: Sequence[S], plan: Plan, bench: Bench) -> Score:
    """One entrant's score: geometric mean of its per-block ratios, with the absolute times beside it.

    A unit is the natural logarithm of plain time over candidate time in one block.
    """
    image = entrant.program.image if entrant.program else ""
    backend = entrant.program.backend if entrant.program else bench.sandboxes.name
    if entrant.ended is not None:
        return Score(verdict=entrant.ended.verdict, reason=entrant.ended.reason, image=image, backend=backend)
    measured = {shape.key: shape_times(entrant, run, shape, plan.launches) for shape in shapes}
    for key, shape in measured.items():
        if shape.too_fast:
            reason = f"{key}: faster than {shape.floor * 1e6:.0f} µs, which no CPU can be"
            return Score(verdict=Verdict.REWARD_HACK, reason=reason, image=image, backend=backend)
    units = {
        f"{key}/block{index}": float(unit)
        for key, shape in measured.items()
        for index, unit in enumerate(np.log(shape.plain / shape.times))
    }
    logs = np.array(list(units.values()))
    low, high = bootstrap_mean(logs)
    return Score(
        verdict=Verdict.OK,
        value=math.exp(float(logs.mean())),
        interval=(math.exp(low), math.exp(high)),
        units=units,
        secondary=_beside(entrant, measured),
        image=image,
        backend=backend,
    )


def _beside(entrant: Entrant, measured: Mapping[str, ShapeTimes]) -> dict[str, float]:
    """Absolute times in microseconds (medians of blocks, geometric means of shapes), and CPU time out of turn."""

    def middle(seconds: Iterable[Doubles | float]) -> float:
        return math.exp(float(np.mean([math.log(float(np.median(s))) for s in seconds]))) * 1e6

    shapes = measured.values()
    return {
        "time_us": middle(s.times for s in shapes),
        "reference_us": middle(s.plain for s in shapes),
        "protocol_us": middle(s.protocol for s in shapes),
        "floor_us": middle(s.floor for s in shapes),
        "idle_cpu_share": entrant.idle_cpu_s / entrant.others_s if entrant.others_s else 0.0,
        **{f"{key}/time_us": float(np.median(s.times)) * 1e6 for key, s in measured.items()},
        **{f"{key}/reference_us": float(np.median(s.plain)) * 1e6 for key, s in measured.items()},
    }
