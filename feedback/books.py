"""The books of one task's run: what it has spent, what is left, and why it may not go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feedback.agent import Answer
from feedback.archive import Archive
from feedback.budget import Budget, Spent


@dataclass(frozen=True)
class Books:
    """Kept in the archive, so that they survive a kill."""

    archive: Archive
    task: str
    budget: Budget
    say: Callable[[str], None]

    def spent(self) -> Spent:
        """So far, over all sittings."""
        row = self.archive.spending(self.task)
        return Spent(row.candidates, row.seconds, row.tokens, row.money)

    def left(self) -> Spent:
        """Of each budget; infinity where there is none."""
        return self.budget.left(self.spent())

    def pay(self, candidates: int = 0, seconds: float = 0.0) -> None:
        """Count what was done."""
        self.archive.spend(self.task, Spent(candidates=candidates, seconds=seconds))

    def count(self, answer: Answer, refused: int = 0) -> None:
        """Count an agent's answer, and edits of it that could not be made."""
        self.archive.spend(self.task, answer.cost, malformed=answer.malformed + refused)

    def stop(self, why: str) -> None:
        """No further generation may begin."""
        row = self.archive.spending(self.task)
        if not row.stopped:
            row.stopped = why
            self.archive.save(row)
            self.say(f"[yellow]no further generation[/yellow]: {why}")

    def may_not_begin(self) -> str:
        """Why no further generation may begin, or "". One is expected to cost what the last one did."""
        before = self.archive.spending(self.task).stopped
        if before:
            return before
        costs = [g.cost for g in self.archive.generations(self.task) if g.best is not None and g.number > 0 and g.cost]
        likely = Spent(**costs[-1]) if costs else Spent()  # type: ignore[arg-type]
        # At least one try, the best and the canary are scored.
        return self.budget.exhausted(self.spent(), Spent(3, likely.seconds, likely.tokens, likely.money))
