"""A kernel task: race the candidates and turn block times into scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic

import numpy as np

from benchmarks.kernels.clock import THREADS
from benchmarks.kernels.problem import Problem, S, peak_flops
from benchmarks.kernels.rounds import FULL, QUICK, Entrant, Plan, Run
from benchmarks.task import Bench, Candidate, Direction, Metric, Score, Split, Task, Verdict
from results.stats import bootstrap_mean
from sandboxes.base import MIB, Limits

TOGETHER = 5
"""Candidates in one run. Each holds a sandbox with a loaded torch for as long as the run takes."""


class KernelTask(Task, Generic[S]):
    """Scores kernels by how many times faster than the plain program they are."""

    problem: Problem[S]
    metric = Metric("speedup", "x", Direction.UP)
    image = "kernels"
    limits = Limits(memory_bytes=1536 * MIB, cpus=float(THREADS), wall_s=900.0, scratch_bytes=256 * MIB)

    def missing(self) -> str | None:
        """Inputs are drawn, so nothing can be missing."""
        return None

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


def score_of(entrant: Entrant, run: Run[S], shapes: Sequence[S], plan: Plan, bench: Bench) -> Score:
    """One entrant's score: geometric mean of its per-block ratios, with the absolute times beside it.

    A unit is the natural logarithm of plain time over candidate time in one block, the protocol's cost taken off both.
    """
    image = entrant.program.image if entrant.program else ""
    backend = entrant.program.backend if entrant.program else bench.sandboxes.name
    if entrant.ended is not None:
        return Score(verdict=entrant.ended.verdict, reason=entrant.ended.reason, image=image, backend=backend)
    units: dict[str, float] = {}
    secondary: dict[str, float] = {}
    middles: dict[str, list[float]] = {"time_us": [], "reference_us": [], "protocol_us": [], "floor_us": []}
    for shape in shapes:
        key = shape.key
        floor = shape.flops / peak_flops(THREADS)
        protocol = float(np.median(run.empty.seconds[key]))
        # The floor also bounds each block, so that one lucky subtraction can't become an enormous logarithm.
        times = np.maximum((np.array(entrant.seconds[key]) - protocol) / plan.launches, floor)
        plain = np.maximum((np.array(run.plain.seconds[key]) - protocol) / plan.launches, floor)
        if np.median(times) <= floor:
            reason = f"{key}: faster than {floor * 1e6:.0f} µs, which no CPU can be"
            return Score(verdict=Verdict.REWARD_HACK, reason=reason, image=image, backend=backend)
        units |= {f"{key}/block{i}": float(u) for i, u in enumerate(np.log(plain / times))}
        for name, seconds in (("time_us", times), ("reference_us", plain), ("protocol_us", protocol), ("floor_us", floor)):
            middles[name].append(float(np.median(seconds)) * 1e6)
        secondary[f"{key}/time_us"] = middles["time_us"][-1]
        secondary[f"{key}/speedup"] = middles["reference_us"][-1] / middles["time_us"][-1]
    secondary |= {name: math.exp(float(np.mean(np.log(values)))) for name, values in middles.items()}
    secondary["idle_cpu_share"] = entrant.idle_cpu_s / entrant.others_s if entrant.others_s else 0.0
    logs = np.array(list(units.values()))
    low, high = bootstrap_mean(logs)
    return Score(
        verdict=Verdict.OK,
        value=math.exp(float(logs.mean())),
        interval=(math.exp(low), math.exp(high)),
        units=units,
        secondary=secondary,
        image=image,
        backend=backend,
    )
