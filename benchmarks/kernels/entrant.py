"""A program in a run, what was seen of it, and who works when its turn is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.kernels import idle
from benchmarks.kernels.channel import Ended
from benchmarks.kernels.clock import Look, Program
from benchmarks.task import Candidate, Verdict

IDLE_SHARE = 0.1
"""CPU time after its turn, as a share of the time it was watched, that is taken for housekeeping."""
IDLE_S, IDLE_IN_TICKS_S = 0.02, 0.1
"""CPU time after its turns, in seconds, that is taken for housekeeping whatever the share; more where it comes in ticks of 10 ms."""
WATCH_S, FIRST_WATCH_S, FIRST_S = 0.005, 0.04, 0.5
"""Shortest time that a program is watched after its turn, before it is frozen; where its CPU time comes in ticks, longer until it
was watched for so long in sum."""


@dataclass
class Entrant:
    """A program in the run and what was seen of it."""

    candidate: Candidate
    program: Program | None = None
    ended: Ended | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Raw block times by shape, protocol included."""
    claimed: dict[str, list[float]] = field(default_factory=dict)
    """The same blocks by the program's own clock. Advice."""
    looks: dict[str, list[Look | None]] = field(default_factory=dict)
    """Into these blocks while they ran; None where a block has few launches or had ended by then."""
    states: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    """What the device said of itself around each block."""
    idle_cpu_s: float = 0.0
    """CPU time spent after its turns, when all its work should have been done."""
    watched_s: float = 0.0
    """How long it was watched for that."""

    @property
    def running(self) -> bool:
        """True until something ended it."""
        return self.ended is None

    def end(self, ended: Ended) -> None:
        """Take it out of the run. Its processes are killed: frozen ones still hold memory, and their work on a device goes on.

        The guest is among them, and when that has ended the supervisor kills whatever is left, however it hides.
        """
        self.ended = ended
        if self.program is not None and self.program.root is not None:
            idle.kill(self.program.root)

    def watch(self) -> Callable[[], None]:
        """Watch it from now, when its work should be done, until what this returns is called, which raises Ended if it worked on."""
        since, cpu = time.monotonic(), self._cpu_seconds()

        def until_now() -> None:
            # Where CPU time is booked in ticks, a short run must not end before there is enough to go by.
            in_ticks = self.program is None or not self.program.accounted
            least = FIRST_WATCH_S if in_ticks and self.watched_s < FIRST_S else WATCH_S
            allowed = IDLE_IN_TICKS_S if in_ticks else IDLE_S
            time.sleep(max(0.0, least - (time.monotonic() - since)))
            self.idle_cpu_s += self._cpu_seconds() - cpu
            self.watched_s += time.monotonic() - since
            if self.idle_cpu_s > allowed + IDLE_SHARE * self.watched_s:
                used = f"{self.idle_cpu_s:.2f} s of CPU in the {self.watched_s:.2f} s after its turns"
                raise Ended(Verdict.REWARD_HACK, f"worked when its work was done: used {used}")

        return until_now

    def _cpu_seconds(self) -> float:
        return self.program.cpu_seconds() if self.program is not None else 0.0
