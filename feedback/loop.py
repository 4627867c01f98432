"""The loop: choose a lever, let the agent decide, stage, judge beside the best, keep what is shown to be better.

Everything it knows is in the archive, so it can be killed at any moment and taken up again. The report split is scored once,
at the end (`report.py`); nothing is chosen by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from benchmarks.evaluator import Evaluator
from benchmarks.task import Task
from feedback.agent import FeedbackAgent
from feedback.archive import Archive, Generation, Try
from feedback.books import Books
from feedback.budget import Budget, Spent
from feedback.decision import Lever
from feedback.gate import Decision
from feedback.levers import LeverPolicy, Only
from feedback.proposing import Proposing, new_row
from feedback.report import Finished, publish, shown
from feedback.scoring import Scoring, vetoed, watch_stop
from feedback.weights import WeightsLever

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much to try."""

    generations: int = 3
    width: int = 4
    """Tries per generation."""
    quick: bool = False
    """Fewer repeats in each scoring: for tests, never for a record that is published."""
    budget: Budget = field(default_factory=Budget)
    watch: bool = True
    """Canary in each generation and second evaluator on each step; without them a run is cheaper and blinder."""
    seed: int = 0
    """Of the agent's and the policy's draws. Scoring seeds are secret, and not drawn from it."""


class Loop:
    """One task's run. Call `run`; call it again on the same archive to go on where it was left."""

    def __init__(
        self, task: Task, plan: Plan, agent: FeedbackAgent, archive: Archive, evaluator: Evaluator, say: Say, *,
        levers: LeverPolicy | None = None, weights: WeightsLever | None = None,
    ) -> None:  # fmt: skip
        self.task, self.plan, self.agent, self.archive = task, plan, agent, archive
        self.evaluator, self.say = evaluator, say
        self.levers = levers or Only(Lever.HARNESS)
        watching = (1 + 2 * (task.second() is not None)) if plan.watch else 0
        self.books = Books(archive, task.name, plan.budget, say, beside=task.fresh_inputs + watching)
        self.proposing = Proposing(task, archive, agent, self.levers, weights, self.books, plan.width, plan.seed, say)
        self.scoring = Scoring(task, archive, evaluator, self.books, plan.quick, plan.generations, say)

    def run(self) -> Finished:
        """All generations that are not finished, then the report, then the record."""
        self.books.reporting = True
        return publish(self, self.search())

    def search(self) -> Try:
        """All generations that are not finished; returns the best. The report split is not touched."""
        best = self._first()
        for number in range(1, self.plan.generations + 1):
            done = self._done(number)
            if done is None:
                why = self.books.may_not_begin()
                if why:
                    self.books.stop(why)
                    break
                done = self._generation(number, best)
            best = done
        return best

    def _done(self, number: int) -> Try | None:
        """The best after a generation that is finished."""
        found = [g.best for g in self.archive.generations(self.task.name) if g.number == number and g.best is not None]
        return self.archive.get(found[0]) if found else None

    def _first(self) -> Try:
        """Generation 0: the seed, and the agent's own draft where it makes one; returns the better one."""
        name = self.task.name
        if not self.archive.tries(name, 0):
            seed = self.task.seed()
            self.archive.propose([(new_row(self.task, seed, 0, 0, None, "seed", ()), seed)])
        first = self.archive.tries(name, 0)[0]
        if first.score is None:
            self.say("g0 seed: scoring")
            self.scoring.alone(first)
            self.say(f"g0 seed: {shown(self.task, first.scored)}")
        if first.scored is None or not first.scored.ok:
            self.books.stop("the seed program does not score: there is nothing to improve on")
            return first
        done = self._done(0)
        if done is None:
            self.proposing.drafted(first)
            done, gain = self._judge(0, first, self.archive.tries(name, 0)[1:])
            self.archive.save(Generation(
                task=name, number=0, lever="seed", why="", evidence={}, decision=None, adapter=None, best=done.id,
                gain=gain, canary=None, watch=None, cost=asdict(self.books.spent()),
            ))  # fmt: skip
        return done

    def _generation(self, number: int, best: Try) -> Try:
        row = self.proposing.opened(number, best)
        rows = self.archive.tries(self.task.name, number)
        if row.lever == Lever.WEIGHTS and "training" not in row.evidence:
            rows = self.proposing.trained(row, best)
        winner, row.gain = self._judge(number, best, rows)
        canary = self._canary(best)
        row.canary = self.scoring.canary(number, canary) if canary is not None else None
        if row.canary and row.canary["drift"]:
            self.say(f"g{number} drift: {row.canary['drift']}")
        if winner is not best and self.plan.watch:
            row.watch = self.scoring.second(winner, best, row.gain)
            earlier = [g.watch for g in self.archive.generations(self.task.name) if g.watch and g.number < number]
            why, stopped = vetoed(row.watch), watch_stop([*earlier, row.watch])
            if why:
                self.say(f"g{number} {'+'.join(winner.moves)}: not kept: {why}")
                winner.why, winner, row.gain = why, best, 0.0
                self.archive.save(*rows)
            if stopped:
                self.books.stop(stopped)
        before = Spent(**row.evidence["spent_before"])  # type: ignore[arg-type]
        row.best, row.cost = winner.id, asdict(self.books.spent() - before)
        self.archive.save(row)
        return winner

    def _judge(self, number: int, best: Try, rows: Sequence[Try]) -> tuple[Try, float]:
        """Stage, measure, decide; returns the best from here on, and its gain."""
        self.scoring.stage(number, rows)
        ready = [row for row in rows if row.stage == "ready"]
        canary = self._canary(best) if number else None
        decisions = dict(zip([r.id for r in ready], self.scoring.judged(number, best, ready, canary), strict=True))
        kept = [(decisions[row.id].gain or 0.0, row) for row in ready if decisions[row.id].kept]
        gain, winner = max(kept, key=lambda pair: pair[0]) if kept else (0.0, best)
        for row in rows:
            found = decisions.get(row.id) or Decision(False, shown(self.task, row.scored))
            row.gain, row.gain_low, row.gain_high, row.p, row.alpha = (
                found.gain,
                found.low,
                found.high,
                found.p,
                found.alpha,
            )
            row.why = found.why if row is winner or not found.kept else "better, but another was better still"
            mark = "kept" if row is winner else row.why
            self.say(f"g{number} {'+'.join(row.moves)}: {shown(self.task, row.scored)}  {mark}")
        self.archive.save(*rows)
        return winner, gain

    def _canary(self, best: Try) -> Try | None:
        """A known-good program to score again in each generation: where inputs are fresh the seed, else the cheaper of it
        and the best, because there the best is not scored again anyway, and any known answer shows drift."""
        if not self.plan.watch:
            return None
        first = self.archive.tries(self.task.name, 0)[0]
        good = [t for t in ([first] if self.task.fresh_inputs else [first, best]) if t.scored and t.scored.ok]
        return min(good, key=lambda t: t.scored.seconds if t.scored else 0.0, default=None)


__all__ = ["Finished", "Loop", "Plan"]
