"""How often each shape is run, and when that is enough."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.kernels.problem import Shape


@dataclass(frozen=True)
class Plan:
    """Bounds of one run. It ends when every candidate's interval is narrow enough, or with `most` blocks, or in time."""

    least: int
    """Timed blocks of each shape before anything is concluded."""
    most: int
    """Timed blocks of each shape after which it ends in any case."""
    seconds: float
    """Time for all lives but what comes before the first timed block, all candidates together; the last life is finished."""
    life: int
    """Timed blocks of each shape in one life of the programs; then each is started anew. `least` and `most` are multiples.
    Before them come some of each shape that are checked like any other and not timed (`rounds.LAPS`)."""
    precision: float = 0.01
    """Half-width of the interval, as a share of the value, that is narrow enough."""
    first_s: float = 60.0
    """Longest first blocks of a shape, in seconds: libraries load, threads start and compilers run in them."""
    block_s: float = 0.02
    """A block holds as many launches as the plain program makes in this time: a launch that is shorter than the
    protocol's cost is timed by the hundred. What cold caches and sleeping threads cost its first launch is
    then about one per cent of it."""
    most_launches: int = 256

    def __post_init__(self) -> None:
        if self.least % self.life or self.most % self.life:
            raise ValueError(f"{self.least} to {self.most} blocks are no whole lives of {self.life}")

    def launches(self, shape: Shape, plain_s: float, block_bytes: int) -> int:
        """Launches in a block of a shape that takes the plain program `plain_s` seconds a launch.

        Inputs and outputs of a block have `block_bytes` at most (`Target.block_bytes`), but one launch is always allowed.
        """
        wanted = self.block_s / max(plain_s, 1e-6)
        fitting = block_bytes // max(1, sum(s.bytes for s in (*shape.inputs, *shape.outputs)))
        return max(1, min(round(wanted), self.most_launches, int(fitting)))


FULL = Plan(least=12, most=48, seconds=60.0, life=2)
QUICK = Plan(least=4, most=4, seconds=60.0, life=1, first_s=15.0)


@dataclass(frozen=True)
class Schedule:
    """What a run turned out to do. Later runs of one scoring repeat it, so that their units can be paired."""

    launches: dict[str, int]
    """In a block, by shape."""
    rounds: int
    """Timed blocks of each shape."""
