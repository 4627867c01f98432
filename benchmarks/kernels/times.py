"""What block times are worth: seconds of a launch by life, and their ratio to the plain program's."""

from __future__ import annotations

from typing import Generic

import numpy as np

from benchmarks.kernels.entrant import Entrant
from benchmarks.kernels.plan import Plan
from benchmarks.kernels.problem import Doubles, S
from benchmarks.kernels.roofline import Roofline


class Times(Generic[S]):
    """The times of the programs of one run (`rounds.Run`, which measures them)."""

    plan: Plan
    shapes: tuple[S, ...]
    launches: dict[str, int]
    """In a block, by shape."""
    roofline: Roofline
    plain: Entrant
    """The task's plain program, which every other is held against."""

    def logs(self, entrant: Entrant) -> dict[str, Doubles]:
        """Natural logarithms of plain time over the entrant's time, by shape and life."""
        return {
            s.key: np.log(self.launch_seconds(self.plain, s) / self.launch_seconds(entrant, s)) for s in self.shapes
        }

    def launch_seconds(self, entrant: Entrant, shape: S) -> Doubles:
        """Seconds of a launch by life: in its best block, the protocol's cost taken off.

        The best, as `timeit` gives the best of its repeats: what else the machine does makes a block longer and never shorter. At or
        above the floor, so that one lucky subtraction can't become an enormous ratio.
        """
        best = np.array(entrant.seconds[shape.key])[self.best(entrant, shape)]
        launch: Doubles = (best - self.protocol(shape)) / self.launches[shape.key]
        return launch.clip(min=self.roofline.floor(shape))

    def best(self, entrant: Entrant, shape: S) -> list[int]:
        """The number of the best block of each life."""
        lives = np.array(entrant.seconds[shape.key]).reshape(-1, self.plan.life)
        return [life * self.plan.life + int(block) for life, block in enumerate(lives.argmin(axis=1))]

    def protocol_seconds(self, shape: S) -> Doubles:
        """What the protocol cost by block: the time of the plain program's block that its own clock didn't see. It is ours, so its
        clock may be believed, and it pays what programs pay that have worked: threads to wake, a reply from cold code.
        """
        unseen: Doubles = np.array(self.plain.seconds[shape.key]) - np.array(self.plain.claimed[shape.key])
        return unseen.clip(min=0.0)

    def protocol(self, shape: S) -> float:
        """Seconds that are taken off every block of a shape."""
        return float(np.median(self.protocol_seconds(shape)))
