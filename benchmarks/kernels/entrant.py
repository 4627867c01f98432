"""A program in a run, and what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.kernels.channel import Ended
from benchmarks.kernels.clock import Look, Program
from benchmarks.task import Candidate


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
    looks: list[Look] = field(default_factory=list)
    """Into running blocks of several launches."""
    states: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    """What the device said of itself around each block."""
    idle_cpu_s: float = 0.0
    """CPU time spent after its turns, when all its work should have been done."""
    watched_s: float = 0.0
    """How long it was watched for that."""
    frozen: bool = True
    """False when it couldn't be stopped while others were being timed."""

    @property
    def running(self) -> bool:
        """True until something ended it."""
        return self.ended is None
