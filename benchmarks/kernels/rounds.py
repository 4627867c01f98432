"""Time several programs in one run, block by block in random order, beside the plain program.

What drifts (clock speed, neighbours, temperature) then drifts for all of them, and a ratio within one block keeps out
of it. What chance deals a process for its life is dealt anew every few blocks: all programs then begin another life. Every output of every launch, timed or not, is checked in float64 before its time counts.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic

import numpy as np

from benchmarks.kernels import bootstrap, idle
from benchmarks.kernels.channel import Ended
from benchmarks.kernels.clock import BUSY, Program, Timed
from benchmarks.kernels.entrant import Entrant
from benchmarks.kernels.lending import Room
from benchmarks.kernels.opening import program
from benchmarks.kernels.plan import Plan, Schedule
from benchmarks.kernels.problem import Problem, S, Tensors, mistake
from benchmarks.kernels.protocol import placement
from benchmarks.kernels.target import Target
from benchmarks.kernels.times import Times
from benchmarks.task import Bench, Candidate, Split, Verdict
from sandboxes.base import Limits, SandboxError
from sandboxes.session import quiet

SLOWEST = 20.0
"""A launch that takes this many times the plain program's time ends the candidate, so that it can't hold up a run."""
PILOTS = 1, 4, 16, 64
"""Launches in blocks of the plain program alone, after one launch of each, from which the number of launches is planned. The first
launch of a block finds cold caches and sleeping threads, so short ones are looked at several at a time."""
LAPS, CALM = 5, 128
"""Most warm-up blocks of each shape in a life, and the page faults of one program in a lap of them (at least the second) that are few."""
SEVERAL = 4
"""Launches in a block from which on we look, once and at a random instant, which slots have been begun."""

LOOK_WHEN = 0.25, 0.75
"""Earliest and latest time of that look, as a share of a typical block."""


@dataclass(frozen=True)
class Block(Generic[S]):
    """The inputs of one block and their answers, the same for every program of the run."""

    shape: S
    timed: bool
    slots: list[Tensors]
    answers: list[Tensors]


class Run(Times[S]):
    """One run: the entrants, interleaved. Use `run`."""

    def __init__(
        self,
        problem: Problem[S],
        split: Split,
        plan: Plan,
        seed: int,
        target: Target,
        schedule: Schedule | None = None,
    ) -> None:
        self._problem, self.plan, self._seed, self._target = problem, plan, seed, target
        self._given = schedule
        self.shapes = problem.shapes(split, target.name)
        self._order = random.Random(seed)
        self._serial = 0
        self._pilot: dict[str, float] = {}
        self.launches = dict(schedule.launches) if schedule else {}
        self.roofline = target.roofline(problem.narrowest)
        self.plain = Entrant(Candidate(source=problem.plain, name="plain"))
        self._entrants = [self.plain]
        self.rounds = 0

    @property
    def schedule(self) -> Schedule:
        """What this run did, for later runs to repeat."""
        return Schedule(self.launches, self.rounds)

    def _room(self) -> Room:
        """Bytes of inputs and of outputs of the largest block there can be."""
        blocks = [(shape, 1) for shape in self._problem.checks(self._target.name)]
        blocks += [(shape, self._launches(shape, 0.0)) for shape in self.shapes]
        return (
            max(placement(shape.inputs, launches)[1] for shape, launches in blocks),
            max(placement(shape.outputs, launches)[1] for shape, launches in blocks),
        )

    def _block(self, shape: S, *, timed: bool, launches: int = 1) -> Block[S]:
        """Draw a block's inputs, which depend on the seed and on how many blocks there were, and compute its answers."""
        self._serial += 1
        rng = np.random.default_rng([self._seed, self._serial])
        slots = [self._problem.inputs(shape, rng, self._target.name) for _ in range(launches)]
        return Block(shape, timed, slots, [self._problem.reference(shape, slot) for slot in slots])

    def _turn(self, entrant: Entrant, block: Block[S]) -> None:
        """Run, check and time one block of one entrant. Raises Ended."""
        assert entrant.program is not None
        key = block.shape.key
        wall_s, look_after_s = self.plan.first_s, None
        if block.timed and (known := self.plain.seconds.get(key)):
            wall_s = 1.0 + SLOWEST * float(np.median(known))
        if block.timed and len(block.slots) >= SEVERAL and (own := entrant.seconds.get(key)):
            look_after_s = self._order.uniform(*LOOK_WHEN) * float(np.median(own))
        timed = entrant.program.time(
            block.slots, block.shape.inputs, block.shape.outputs, wall_s=wall_s, rng=self._order,
            look_after_s=look_after_s,
        )  # fmt: skip
        watch = entrant.watch()
        for number, (outputs, answer) in enumerate(zip(timed.outputs, block.answers, strict=True), 1):
            wrong = mistake(self._problem, outputs, answer)
            if wrong is not None:
                which = f", launch {number} of {len(block.slots)}" if len(block.slots) > 1 else ""
                raise Ended(Verdict.WRONG, f"{key}{which}: {wrong}")
        self._note(entrant, block, timed)
        watch()
        entrant.program.freeze()

    def _note(self, entrant: Entrant, block: Block[S], timed: Timed) -> None:
        if not block.timed:
            if entrant is self.plain:
                # A launch's length, to plan by. This program is ours, so its own clock may be believed.
                known = self._pilot.get(block.shape.key, math.inf)
                self._pilot[block.shape.key] = min(known, timed.claimed / len(block.slots))
            return
        key = block.shape.key
        entrant.seconds.setdefault(key, []).append(timed.seconds)
        entrant.claimed.setdefault(key, []).append(timed.claimed)
        entrant.states.setdefault(key, []).append(timed.state)
        entrant.looks.setdefault(key, []).append(timed.look)

    def _play(self, entrants: list[Entrant], block: Block[S]) -> None:
        """Give every running entrant its turn at a block, in random order; the others are frozen meanwhile."""
        for entrant in self._order.sample(entrants, len(entrants)):
            if not entrant.running:
                continue
            try:
                self._turn(entrant, block)
                if (busy := self._target.settle()[0]) > BUSY:
                    reason = f"left work running on the device, which was {1 + busy:.1f} times slower than idle"
                    raise Ended(Verdict.REWARD_HACK, reason)
            except Ended as ended:
                entrant.end(ended)

    def _enough(self, candidates: list[Entrant], since: float) -> bool:
        if self._given is not None:
            return self.rounds >= self._given.rounds
        if self.rounds >= self.plan.most:
            return True
        if self.rounds < self.plan.least:
            return False
        if time.monotonic() - since > self.plan.seconds:
            return True
        return all(bootstrap.settled(self.logs(e), self.plan.precision) for e in candidates if e.running)

    def run(self, candidates: Sequence[Candidate], bench: Bench, image: str, limits: Limits) -> list[Entrant]:
        """Race the candidates; each comes back with its times or with what ended it.

        Raises SandboxError when the plain program fails: then the machine is at fault.
        """
        theirs = [Entrant(candidate) for candidate in candidates]
        self._entrants += theirs
        entrants = self._entrants
        with ExitStack() as stack:
            for entrant in entrants:
                try:
                    opened = program(entrant.candidate, image, limits, bench, self._target, self._room())
                    entrant.program = stack.enter_context(opened)
                except Ended as ended:
                    entrant.ended = ended
            self._each(entrants, Program.connect)

            def play(block: Block[S], who: list[Entrant] = entrants) -> bool:
                if any(e.running for e in theirs):
                    self._play(who, block)
                self._insist_on_ours()
                return any(e.running for e in theirs)

            with quiet(bench.sandboxes):  # Or a pool would start sandboxes beside what is timed.
                self._lives(play, theirs, bench)
        return theirs

    def _insist_on_ours(self) -> None:
        if (ended := self.plain.ended) is not None:
            raise SandboxError(f"the plain kernel failed ({ended.verdict}: {ended.reason})")

    def _each(self, entrants: Sequence[Entrant], *steps: Callable[[Program], object]) -> None:
        """Take each step with every running program."""
        for step in steps:
            for entrant in entrants:
                try:
                    if entrant.running and entrant.program is not None:
                        step(entrant.program)
                except Ended as ended:
                    entrant.end(ended)
        self._insist_on_ours()

    def _live(self) -> None:
        """Begin another life of every running program, in random order; they load at the same time, and are frozen then."""
        order = self._order.sample(self._entrants, len(self._entrants))
        self._each(order, Program.live, Program.loaded, Program.freeze)

    def _lives(self, play: Callable[..., bool], theirs: list[Entrant], bench: Bench) -> None:
        """Untimed shapes, then lives of warm-ups and rounds of one timed block of each shape until it is enough."""
        self._live()
        for shape in self._problem.checks(self._target.name):
            if not play(self._block(shape, timed=False)):
                return
        if not self._warm(play):
            return
        largest = max(shape.bytes for shape in self.shapes)
        self.roofline.measure(largest)
        since = time.monotonic()
        while True:
            for _ in range(self.plan.life):
                for shape in self.shapes:
                    bench.progress(f"{shape.key}, block {self.rounds + 1} of at most {self.plan.most}")
                    if not play(self._block(shape, timed=True, launches=self.launches[shape.key])):
                        return
                self.rounds += 1
            if self._enough(theirs, since):
                break
            self._live()
            if not self._warm(play):
                return
        self.roofline.measure(largest)

    def _warm(self, play: Callable[..., bool]) -> bool:
        """What comes before the timed blocks of a life: blocks of each shape until the programs' memory is settled.

        Libraries load and compilers run in the first. Temporaries come to lie where others were, or in pages that nobody touched so far,
        which takes several times as long: not before every shape has been there, and then again.
        """
        if not self._plan_launches(play):
            return False
        faults = self._page_faults()
        for lap in range(LAPS):
            if not all(play(self._block(s, timed=False, launches=self.launches[s.key])) for s in self.shapes):
                return False
            before, faults = faults, self._page_faults()
            touched = [count - before.get(root, 0) for root, count in faults.items()]
            if lap and max(touched, default=0) <= CALM:
                break
        return True

    def _plan_launches(self, play: Callable[..., bool]) -> bool:
        """How many launches make a block, where that isn't known: from one launch of each program and then some of the plain one."""
        for shape in self.shapes:
            if shape.key in self.launches:
                continue
            if not play(self._block(shape, timed=False)):
                return False
            for launches in PILOTS:
                if launches <= self._launches(shape, self._pilot[shape.key]):
                    play(self._block(shape, timed=False, launches=launches), [self.plain])
            self.launches[shape.key] = self._launches(shape, self._pilot[shape.key])
        return True

    def _launches(self, shape: S, plain_s: float) -> int:
        """See `Plan.launches`."""
        return self.plan.launches(shape, plain_s, self._target.block_bytes)

    def _page_faults(self) -> dict[int, float]:
        """Pages that each running program has touched so far, by its sandbox."""
        roots = [e.program.root for e in self._entrants if e.running and e.program is not None]
        return idle.page_faults(root for root in roots if root is not None)
