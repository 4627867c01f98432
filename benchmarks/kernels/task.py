"""A kernel task: race the candidates and turn block times into scores."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Generic, Self

import numpy as np

from benchmarks.kernels import bootstrap
from benchmarks.kernels.advice import advice
from benchmarks.kernels.entrant import Entrant
from benchmarks.kernels.memory import Host
from benchmarks.kernels.plan import FULL, QUICK, Schedule
from benchmarks.kernels.problem import Device, Doubles, Problem, S
from benchmarks.kernels.rounds import Run
from benchmarks.kernels.second import between
from benchmarks.kernels.smoke import smoke
from benchmarks.kernels.target import Target
from benchmarks.kernels.verdict import suspicion
from benchmarks.task import Bench, Candidate, Direction, Metric, Score, Split, Task, Verdict
from sandboxes.base import MIB, Limits

TOGETHER = 5
"""Candidates in one run. Each holds a sandbox with a loaded torch for as long as the run takes."""


CUDA_LIMITS = Limits(memory_bytes=24 * 1024 * MIB, cpus=2.0, wall_s=1800.0, scratch_bytes=4096 * MIB, gpus=1)
"""Host memory: a CUDA context maps several gigabytes of libraries, and compilers keep their results in scratch space."""


class KernelTask(Task, Generic[S]):
    """Scores kernels by how many times faster than the plain program they are."""

    problem: Problem[S]
    metric = Metric("speedup", "x over the plain program", Direction.UP, log_units=True)
    image = "kernels"
    limits = Limits(memory_bytes=1536 * MIB, cpus=2.0, wall_s=900.0, scratch_bytes=256 * MIB)

    device: Device = "cpu"
    other_shapes: bool = False
    """True for the second evaluator: shapes drawn between those of the two splits, timed a few times."""

    @cached_property
    def target(self) -> Target:
        """The device that the kernels run on. Raises UserError where it isn't here."""
        if self.device == "cpu":
            return Host()
        from benchmarks.kernels.cuda import Cuda

        return Cuda()

    def on(self, device: Device) -> Self:
        """The same task on another device: its shapes there, its memory, a sandbox that sees a GPU."""
        other = copy.copy(self)
        other.__dict__.pop("target", None)
        other.device = device
        if device == "cuda":
            other.image, other.limits = "kernels-cuda", CUDA_LIMITS
        return other

    def smoke(self, candidate: Candidate, bench: Bench) -> Score:
        """See `Task.smoke`: one launch of the first checked shape, in form and values; nothing is timed."""
        return smoke(self.problem, self.target, self.image, self.limits, candidate, bench)

    def second(self) -> Task:
        """The same kernel at other shapes."""
        other = copy.copy(self)
        other.other_shapes = True
        return other

    def score(self, candidates: Sequence[Candidate], split: Split, seed: int, bench: Bench) -> list[Score]:
        """Race the candidates, a few at a time, all on inputs of one seed. See `Task.score`.

        The first few decide how many blocks there are; the others get as many, so that any two can be paired.
        """
        plan, target = QUICK if bench.quick or self.other_shapes else FULL, self.target
        problem = between(self.problem, split, seed, self.device) if self.other_shapes else self.problem
        scores: list[Score] = []
        schedule: Schedule | None = None
        for first in range(0, len(candidates), TOGETHER):
            run = Run(problem, split, plan, seed, target, schedule)
            entrants = run.run(candidates[first : first + TOGETHER], bench, self.image, self.limits)
            scores += [score_of(entrant, run, bench) for entrant in entrants]
            if schedule is None and run.rounds >= plan.least:
                schedule = run.schedule
        return scores


def score_of(entrant: Entrant, run: Run[S], bench: Bench) -> Score:
    """One entrant's score: geometric mean over shapes of its typical ratio to the plain program.

    A unit is the natural logarithm of plain time over candidate time in one life (`Times.logs`). A suspicion (`verdict.py`) takes the
    number away.
    """
    beside = {
        "image": entrant.program.image if entrant.program else "",
        "backend": entrant.program.backend if entrant.program else bench.sandboxes.name,
        "advice": advice(entrant.candidate.source),
    }
    ended = entrant.ended or suspicion(entrant, run)
    if ended is not None:
        return Score(verdict=ended.verdict, reason=ended.reason, **beside)
    logs = run.logs(entrant)
    low, high = bootstrap.interval(logs)
    return Score(
        verdict=Verdict.OK,
        value=math.exp(bootstrap.centre(logs)),
        interval=(math.exp(low), math.exp(high)),
        units={f"{key}/life{i}": float(unit) for key, series in logs.items() for i, unit in enumerate(series)},
        secondary=_secondary(entrant, run),
        raw=_raw(entrant, run),
        **beside,
    )


def _secondary(entrant: Entrant, run: Run[S]) -> dict[str, float]:
    """Absolute times in microseconds (medians of blocks, geometric means of shapes), rates, and work out of turn."""
    own = {shape.key: run.launch_seconds(entrant, shape) for shape in run.shapes}
    plain = {shape.key: run.launch_seconds(run.plain, shape) for shape in run.shapes}
    floors = {shape.key: run.roofline.floor(shape) for shape in run.shapes}
    protocol = {shape.key: run.protocol(shape) for shape in run.shapes}

    def middle(seconds: dict[str, float]) -> float:
        return math.exp(float(np.mean([math.log(s) for s in seconds.values()]))) * 1e6

    def typical(series: dict[str, Doubles]) -> dict[str, float]:
        return {key: float(np.median(values)) for key, values in series.items()}

    return {
        "time_us": middle(typical(own)),
        "reference_us": middle(typical(plain)),
        "protocol_us": middle(protocol),
        "floor_us": middle(floors),
        "idle_cpu_share": entrant.idle_cpu_s / entrant.watched_s if entrant.watched_s else 0.0,
        "frozen_out_of_turn": float(entrant.program is None or entrant.program.stoppable),
        "held_to_cores": float(entrant.program is None or entrant.program.held),
        "accounted_by_group": float(entrant.program is None or entrant.program.accounted),
        "device_flops": run.roofline.flops,
        **{f"device_bytes_per_s/{size}": rate for size, rate in run.roofline.bandwidth.items()},
        **{f"{key}/time_us": value * 1e6 for key, value in typical(own).items()},
        **{f"{key}/reference_us": value * 1e6 for key, value in typical(plain).items()},
        **{f"{key}/protocol_us": value * 1e6 for key, value in protocol.items()},
        **{f"{key}/floor_us": value * 1e6 for key, value in floors.items()},
        **{f"{key}/launches": float(run.launches[key]) for key in own},
        "blocks_a_life": float(run.plan.life),
    }


def _raw(entrant: Entrant, run: Run[S]) -> dict[str, list[float]]:
    """Every block's time in microseconds as the clock showed it, for the program and the plain one, and what the protocol cost.

    With them, where the device tells, its clocks, temperature and throttling before and after each block.
    """
    found: dict[str, list[float]] = {}
    for shape in run.shapes:
        protocol = run.protocol_seconds(shape).tolist()
        ours = {
            "block_us": entrant.seconds[shape.key],
            "plain_block_us": run.plain.seconds[shape.key],
            "protocol_us": protocol,
        }
        for name, series in ours.items():
            found[f"{shape.key}/{name}"] = [seconds * 1e6 for seconds in series]
    for key, states in entrant.states.items():
        for name in states[0] if states else ():
            found[f"{key}/{name}"] = [state[name] for state in states]
    return found
