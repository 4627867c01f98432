"""The loop: propose, score on the search split, keep what is better beyond its interval; at the end score the report
split once. Everything it knows is in the archive, so it can be killed at any moment and taken up again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.evaluator import Evaluator
from benchmarks.task import Candidate, Direction, Score, Split, Task
from feedback.archive import Archive, Generation, Report, Try
from feedback.gate import judge
from feedback.proposer import Proposal, Proposer
from results.record import Measurement, Record, read_record, write_record
from results.stats import paired_difference


@dataclass(frozen=True)
class Plan:
    """How much to try."""

    generations: int = 3
    width: int = 4
    """Tries per generation."""
    quick: bool = False
    """Fewer repeats in each scoring: for tests, never for a record that is published."""


@dataclass(frozen=True)
class Finished:
    """A task whose report split is scored."""

    record: Record
    path: Path


Say = Callable[[str], None]


class Loop:
    """One task's run. Call `run`; call it again on the same archive to go on where it was left."""

    def __init__(
        self, task: Task, plan: Plan, proposer: Proposer, archive: Archive, evaluator: Evaluator, say: Say
    ) -> None:
        self.task, self.plan, self.proposer = task, plan, proposer
        self.archive, self.evaluator, self.say = archive, evaluator, say
        self._begun = time.monotonic()

    def run(self) -> Finished:
        """Run all generations that are not finished, then the report, then write the record."""
        best = self._first()
        for number in range(1, self.plan.generations + 1):
            best = self._generation(number, best)
        return self._finish(best)

    # -- generations ---------------------------------------------------------------------------------------------

    def _first(self) -> Try:
        """Generation 0: the seed harness on the search split."""
        seed = self.task.seed()
        if not self.archive.tries(self.task.name, 0):
            row = Try(task=self.task.name, generation=0, number=0, sha=seed.sha, weights=None, parent=None,
                      lever="seed", moves=[])  # fmt: skip
            self.archive.propose([(row, seed)])
        row = self.archive.tries(self.task.name, 0)[0]
        if row.score is None:
            self.say("g0 seed: scoring")
            self._store([row], self._score([row]))
            self.say(f"g0 seed: {self._shown(row.scored)}")
        return row

    def _generation(self, number: int, best: Try) -> Try:
        done = {g.number: g.best for g in self.archive.generations(self.task.name)}
        if number in done:
            return self.archive.get(done[number])
        if not self.archive.tries(self.task.name, number):
            self._propose(number, best)
        rows = self.archive.tries(self.task.name, number)
        incumbent = self._measure(rows, best)
        decisions = [judge(self.task, row.scored, incumbent, tries=len(rows)) for row in rows]  # type: ignore[arg-type]
        winner = best
        kept = [(d.gain or 0.0, row) for row, d in zip(rows, decisions, strict=True) if d.kept]
        if kept:
            winner = max(kept, key=lambda pair: pair[0])[1]
        for row, decision in zip(rows, decisions, strict=True):
            row.gain, row.gain_low, row.gain_high = decision.gain, decision.low, decision.high
            row.why = decision.why if row is winner or not decision.kept else "better, but another was better still"
            self._say_decision(number, row, chosen=row is winner)
        self.archive.save(*rows, Generation(task=self.task.name, number=number, best=winner.id))
        self._save_clock()
        return winner

    def _propose(self, number: int, best: Try) -> None:
        parent = self.archive.candidate(best)
        proposals: Sequence[Proposal] = self.proposer.propose(
            self.task.name, parent, self.archive.tries(self.task.name), self.plan.width
        )
        rows = [
            (Try(task=self.task.name, generation=number, number=i, sha=p.candidate.sha, weights=p.candidate.weights,
                 parent=best.id, lever=p.lever, moves=list(p.moves)), p.candidate)
            for i, p in enumerate(proposals)
        ]  # fmt: skip
        self.archive.propose(rows)

    def _measure(self, rows: list[Try], best: Try) -> Score:
        """Score what is not scored yet; returns the best program's score on the very same units."""
        waiting = [row for row in rows if row.score is None]
        known = best.scored
        if known is None:
            raise RuntimeError(f"the best program of {self.task.name} was never scored")
        if self.task.fresh_inputs:
            # Scores under different seeds can't be paired: all tries and the best are measured again, together.
            if not rows:
                return known
            self.say(f"g{rows[0].generation}: scoring the best and {len(rows)} tries side by side")
            scores = self._score([best, *rows])
            self._store(rows, scores[1:])
            return scores[0] if scores[0].ok else known
        for row in waiting:
            self.say(f"g{row.generation} {'+'.join(row.moves)}: scoring")
            self._store([row], self._score([row]))
        return known

    def _score(self, rows: Sequence[Try]) -> list[Score]:
        def commit(committed: str) -> None:
            for row in rows:
                row.committed = committed
            self.archive.save(*rows)

        candidates = [self.archive.candidate(row) for row in rows]
        return self._evaluate(candidates, Split.SEARCH, commit)

    def _evaluate(self, candidates: Sequence[Candidate], split: Split, commit: Say) -> list[Score]:
        return self.evaluator.evaluate(self.task.name, candidates, split, quick=self.plan.quick, on_commit=commit)

    def _store(self, rows: Sequence[Try], scores: Sequence[Score]) -> None:
        for row, score in zip(rows, scores, strict=True):
            row.score = score.model_dump(mode="json")
        self.archive.save(*rows)
        self._save_clock()

    # -- report --------------------------------------------------------------------------------------------------

    def _finish(self, best: Try) -> Finished:
        report = self.archive.report(self.task.name) or Report(task=self.task.name, committed="", begun=0)
        first = self.archive.tries(self.task.name, 0)[0]
        programs = [self.archive.candidate(first), self.archive.candidate(best)]
        if report.best is None:
            self.say("report split: scoring the seed and the best, once")
            report.begun += 1

            def commit(committed: str) -> None:
                report.committed = committed
                self.archive.save(report)

            distinct = programs if first.id != best.id else programs[:1]
            scores = self._evaluate(distinct, Split.REPORT, commit)
            report.seed, report.best = scores[0].model_dump(mode="json"), scores[-1].model_dump(mode="json")
            report.wall_s = self._save_clock()
            self.archive.save(report)
        path = self.archive.folder / "records" / f"{self.task.name}.json"
        if not path.exists():
            write_record(self._record(report, best, programs), path)
        return Finished(read_record(path), path)

    def _record(self, report: Report, best: Try, programs: list[Candidate]) -> Record:
        seed_score, best_score = Score.model_validate(report.seed), Score.model_validate(report.best)
        gain, interval = None, None
        if seed_score.ok and best_score.ok:
            gain, interval = paired_difference(best_score.units, seed_score.units)
        metric = self.task.metric
        if metric.log_units and gain is not None and interval is not None:
            gain, interval = math.exp(gain), (math.exp(interval[0]), math.exp(interval[1]))
        return Record(
            kind="run", task=self.task.name, metric=metric.name, unit=metric.unit, direction=metric.direction.value,
            split=Split.REPORT.value, best=measurement(programs[1], best_score), seed=measurement(programs[0], seed_score),
            gain=gain, gain_interval=interval, gain_is_ratio=metric.log_units, lever=best.lever, generation=best.generation,
            lineage=self.archive.lineage(best), tries=len(self.archive.tries(self.task.name)), wall_seconds=report.wall_s,
        )  # fmt: skip

    # -- words ---------------------------------------------------------------------------------------------------

    def _save_clock(self) -> float:
        now = time.monotonic()
        seconds, self._begun = now - self._begun, now
        return self.archive.add_seconds(self.task.name, seconds)

    def _shown(self, score: Score | None) -> str:
        if score is None or not score.ok or score.value is None or score.interval is None:
            return f"{score.verdict.value}: {score.reason}" if score else "not scored"
        arrow = "↑" if self.task.metric.direction is Direction.UP else "↓"
        low, high = score.interval
        return f"{self.task.metric.name} {arrow} {score.value:.4g} [{low:.4g}, {high:.4g}]"

    def _say_decision(self, number: int, row: Try, *, chosen: bool) -> None:
        mark = "[green]kept[/green]" if chosen else f"[dim]{row.why}[/dim]"
        self.say(f"g{number} {'+'.join(row.moves)}: {self._shown(row.scored)}  {mark}")


def measurement(candidate: Candidate, score: Score) -> Measurement:
    """A score and its program, as a record holds them."""
    fields = score.model_dump(mode="json")
    fields["n"] = len(score.units)
    return Measurement(name=candidate.name, sha=candidate.sha, source=candidate.source, **fields)
