"""Time several programs in one run, block by block in random order, beside the plain program and an empty kernel.

What drifts (clock speed, neighbours, temperature) then drifts for all of them, and a ratio within one block keeps out
of it. Every output, timed or not, is checked in float64 before its time counts.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic

import numpy as np

from benchmarks.kernels import idle
from benchmarks.kernels.clock import Ended, Program, program
from benchmarks.kernels.memory import Array
from benchmarks.kernels.problem import Doubles, Problem, S, mistake
from benchmarks.task import Bench, Candidate, Split, Verdict
from sandboxes.base import Limits, SandboxError

EMPTY = "def kernel(*arguments):\n    return None\n"
"""Does nothing: its time is the protocol's own cost."""
FIRST_S = 10.0
"""Longest first launches, in seconds: libraries load and threads start in them."""
SLOWEST = 20.0
"""A launch that takes this many times the plain program's time ends the candidate, so that it can't hold up a run."""
IDLE_SHARE = 0.1
"""CPU time out of turn, as a share of the others' time, that is taken for housekeeping."""
IDLE_S = 0.1
"""CPU time out of turn, in seconds, that is taken for housekeeping whatever the share (the kernel counts in ticks)."""


@dataclass(frozen=True)
class Plan:
    """How often each shape is run."""

    blocks: int
    """Timed blocks of each shape."""
    warmups: int = 1
    """Blocks before them; checked like any other, not timed."""
    launches: int = 1
    """Kernel calls in a block. More than one where a launch is shorter than the protocol's cost."""


FULL = Plan(blocks=12)
QUICK = Plan(blocks=4)


@dataclass
class Entrant:
    """A program in the run and what was seen of it."""

    candidate: Candidate
    program: Program | None = None
    ended: Ended | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Raw block times by shape, protocol included."""
    idle_cpu_s: float = 0.0
    """CPU time spent while others were being timed."""
    others_s: float = 0.0
    """How long others were being timed."""

    @property
    def running(self) -> bool:
        """True until something ended it."""
        return self.ended is None


@dataclass(frozen=True)
class Block(Generic[S]):
    """The inputs of one block and their answers, the same for every program of the run."""

    shape: S
    index: int
    """Below zero for blocks that are checked and not timed."""
    slots: list[dict[str, Array]]
    answers: list[dict[str, Doubles]]


class Run(Generic[S]):
    """One run: the entrants, interleaved. Use `run`."""

    def __init__(self, problem: Problem[S], plan: Plan, seed: int) -> None:
        self._problem, self._plan, self._seed = problem, plan, seed
        self._order = random.Random(seed)
        self.plain = Entrant(Candidate(source=problem.plain, name="plain"))
        self.empty = Entrant(Candidate(source=EMPTY, name="empty"))

    def blocks(self, split: Split) -> Iterator[Block[S]]:
        """Untimed shapes, warm-ups, then the timed blocks, shape by shape within a round. Inputs depend on the seed."""
        shapes = self._problem.shapes(split)
        plan = [(shape, -1) for shape in self._problem.checks()]
        plan += [(shape, -1) for shape in shapes for _ in range(self._plan.warmups)]
        plan += [(shape, index) for index in range(self._plan.blocks) for shape in shapes]
        for serial, (shape, index) in enumerate(plan):
            rng = np.random.default_rng([self._seed, serial])
            slots = [self._problem.inputs(shape, rng) for _ in range(self._plan.launches)]
            yield Block(shape, index, slots, [self._problem.reference(shape, slot) for slot in slots])

    def _turn(self, entrant: Entrant, block: Block[S]) -> None:
        """Run, check and time one block of one entrant. Raises Ended."""
        assert entrant.program is not None
        known = self.plain.seconds.get(block.shape.key)
        wall_s = FIRST_S if not known else 1.0 + SLOWEST * float(np.median(known))
        timed = entrant.program.time(
            block.slots, block.shape.inputs, block.shape.outputs, wall_s=wall_s, rng=self._order
        )
        if entrant is not self.empty:
            for outputs, answer in zip(timed.outputs, block.answers, strict=True):
                wrong = mistake(self._problem, outputs, answer)
                if wrong is not None:
                    raise Ended(Verdict.WRONG, f"{block.shape.key}: {wrong}")
        if block.index >= 0:
            entrant.seconds.setdefault(block.shape.key, []).append(timed.seconds)

    def _play(self, entrants: list[Entrant], block: Block[S]) -> None:
        """Give every running entrant its turn at a block, in random order, and see who works out of turn."""
        roots = {e.program.root: e for e in entrants if e.running and e.program and e.program.root is not None}
        before, since = idle.cpu_seconds(roots), time.monotonic()
        for entrant in self._order.sample(entrants, len(entrants)):
            if not entrant.running:
                continue
            try:
                self._turn(entrant, block)
            except Ended as ended:
                entrant.ended = ended
            after, now = idle.cpu_seconds(roots), time.monotonic()
            for root, other in roots.items():
                if other is not entrant and root in before and root in after:
                    other.idle_cpu_s += after[root] - before[root]
                    other.others_s += now - since
            before, since = after, now
        for entrant in entrants:
            if entrant.running and entrant.idle_cpu_s > IDLE_S + IDLE_SHARE * entrant.others_s:
                entrant.ended = Ended(
                    Verdict.REWARD_HACK,
                    f"used {entrant.idle_cpu_s:.2f} s of CPU in {entrant.others_s:.2f} s that belonged to others",
                )

    def run(
        self, candidates: Sequence[Candidate], split: Split, bench: Bench, image: str, limits: Limits
    ) -> list[Entrant]:
        """Race the candidates; each comes back with its times or with what ended it.

        Raises SandboxError when the plain program or the empty kernel fails: then the machine is at fault.
        """
        ours = [self.plain, self.empty]
        entrants = [*ours, *(Entrant(candidate) for candidate in candidates)]
        with ExitStack() as stack:
            for entrant in entrants:
                try:
                    entrant.program = stack.enter_context(program(entrant.candidate, image, limits, bench))
                except Ended as ended:
                    entrant.ended = ended
            for entrant in entrants:
                try:
                    if entrant.program is not None:
                        entrant.program.connect()
                except Ended as ended:
                    entrant.ended = ended
            for block in self.blocks(split):
                for entrant in ours:
                    if entrant.ended is not None:
                        reason = f"{entrant.ended.verdict}: {entrant.ended.reason}"
                        raise SandboxError(f"the {entrant.candidate.name} kernel failed ({reason})")
                if not any(e.running for e in entrants[len(ours) :]):
                    break
                if block.index >= 0:
                    bench.progress(f"{block.shape.key}, block {block.index + 1} of {self._plan.blocks}")
                self._play(entrants, block)
        return entrants[len(ours) :]
