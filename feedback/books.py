"""The books of one task's run: what it has spent, what is left, and why it may not go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feedback.agent import Answer
from feedback.archive import Archive
from feedback.budget import Budget, Spent


@dataclass
class Books:
    """Kept in the archive, so that they survive a kill."""

    archive: Archive
    task: str
    budget: Budget
    say: Callable[[str], None]
    beside: int = 2
    """Programs scored beside the tries of a generation: the best, the canary, and two for the second evaluator."""
    reporting: bool = False
    """True when the report split is to be scored out of the same budget."""

    def spent(self) -> Spent:
        """So far, over all sittings."""
        row = self.archive.spending(self.task)
        return Spent(row.candidates, row.seconds, row.tokens, row.money)

    def left(self) -> Spent:
        """Of each budget, without what the report will cost; infinity where there is none."""
        return self.budget.left(self.spent() + self.reserved())

    def reserved(self) -> Spent:
        """What the report split will cost: the seed, each program that was the best, and one more that may come."""
        if not self.reporting:
            return Spent()
        tries = {t.id: t for t in self.archive.tries(self.task)}
        kept = {g.best for g in self.archive.generations(self.task) if g.best is not None} | {min(tries, default=0)}
        seconds = [score.seconds for id_ in kept if id_ in tries and (score := tries[id_].scored) is not None]
        return Spent(candidates=len(kept) + 1, seconds=sum(seconds) + max(seconds, default=0.0))

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
            self.say(f"no further generation: {why}")

    def may_not_begin(self) -> str:
        """Why no further generation may begin, or "". One is expected to cost what the last one did."""
        before = self.archive.spending(self.task).stopped
        if before:
            return before
        costs = [g.cost for g in self.archive.generations(self.task) if g.best is not None and g.number > 0 and g.cost]
        likely = Spent(**costs[-1]) if costs else Spent()  # type: ignore[arg-type]
        tries = self.archive.tries(self.task)
        seed = tries[0].scored if tries else None
        least = (1 + self.beside) * seed.seconds if seed else 0.0
        wanted = Spent(1 + self.beside, max(likely.seconds, least), likely.tokens, likely.money)
        return self.budget.exhausted(self.spent(), wanted + self.reserved())
