"""The share of valid answers, and when its fall must stop a run.

A policy that is trained on rewards can unlearn to answer in the asked form while its few valid answers score well: the
mean reward of the valid ones rises as the run dies. So the share is watched by itself. Small counts fluctuate, hence a run
is stopped only when even the upper end of the 95 % Wilson interval of the last rounds is too low.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from results.stats import wilson


@dataclass(frozen=True)
class Validity:
    """Counts of valid answers by round. `after` gives a new one; `decay` says why to stop, if so."""

    rounds: tuple[tuple[int, int], ...] = ()
    """(valid, asked) of each round, oldest first."""
    window: int = 3
    """Rounds that are judged together."""
    floor: float = 0.05
    """A share below this is too low whatever it was before."""
    fall: float = 0.5
    """So is a share below this part of the best earlier window's."""

    def after(self, valid: int, asked: int) -> Validity:
        """With one more round. Raises ValueError unless 0 <= valid <= asked; a round without a question changes nothing."""
        if not 0 <= valid <= asked:
            raise ValueError(f"{valid} of {asked} answers can't be valid")
        return replace(self, rounds=(*self.rounds, (valid, asked))) if asked else self

    @property
    def share(self) -> float | None:
        """Share of valid answers in the last window; None before the first round."""
        valid, asked = self._sum(len(self.rounds))
        return valid / asked if asked else None

    @property
    def decay(self) -> str | None:
        """Why the run must stop, or None. Judged from the first full window on."""
        if len(self.rounds) < self.window:
            return None
        valid, asked = self._sum(len(self.rounds))
        high = wilson(valid, asked)[1]
        # Windows that overlap the last one would let a slow fall pull its own yardstick down.
        ends = range(self.window, len(self.rounds) - self.window + 1)
        best = max((valid / asked for valid, asked in map(self._sum, ends)), default=0.0)
        if high < max(self.floor, self.fall * best):
            was = f" after {best:.0%} at best" if best else ""
            return f"only {valid} of the last {asked} answers were valid{was}; go back to an earlier adapter"
        return None

    def _sum(self, end: int) -> tuple[int, int]:
        recent = self.rounds[max(0, end - self.window) : end]
        return sum(v for v, _ in recent), sum(a for _, a in recent)
