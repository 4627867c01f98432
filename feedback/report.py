"""The end of a run: the report split is scored once, for the seed and every program that was the best, and a record written.

All of them are scored under one secret seed. The record's number is the last best's; the others show how far the search split
and the report split drift apart over the generations, and nothing is chosen by them.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.task import Candidate, Direction, Score, Split, Task
from feedback.archive import Report, Try
from feedback.briefing import name_of
from feedback.budget import Spent
from results.record import Measurement, Record, read_record, write_record
from results.stats import paired_difference

if TYPE_CHECKING:
    from feedback.loop import Loop


@dataclass(frozen=True)
class Finished:
    """A task whose report split is scored."""

    record: Record
    path: Path


def publish(loop: Loop, best: Try) -> Finished:
    """Score the report split, unless that was done, and write the record, unless it is there."""
    archive, task = loop.archive, loop.task
    report = archive.report(task.name) or Report(task=task.name, committed="", begun=0, curve={}, wall_s=0.0)
    bests = {g.number: g.best for g in archive.generations(task.name) if g.best is not None}
    first = archive.tries(task.name, 0)[0]
    steps = list(dict.fromkeys([first.id, *(bests[n] or first.id for n in sorted(bests)), best.id]))
    tries = [archive.get(id_) for id_ in steps]
    if report.best is None:
        loop.say(f"report split: scoring the seed and {len(tries) - 1} programs that were the best, once")
        report.begun += 1
        begun = time.monotonic()

        def commit(committed: str) -> None:
            report.committed = committed
            archive.save(report)

        candidates = [archive.candidate(t) for t in tries]
        scores = loop.evaluator.evaluate(task.name, candidates, Split.REPORT, quick=loop.plan.quick, on_commit=commit)
        report.seed, report.best = scores[0].model_dump(mode="json"), scores[-1].model_dump(mode="json")
        report.curve = {
            name_of(t): {"search": t.scored.value if t.scored else None, "report": s.value, "verdict": s.verdict.value}
            for t, s in zip(tries, scores, strict=True)
        }  # fmt: skip
        spent = archive.spend(task.name, Spent(candidates=len(tries), seconds=time.monotonic() - begun))
        report.wall_s = spent.seconds
        archive.save(report)
    path = archive.folder / "records" / f"{task.name}.json"
    if not path.exists():
        write_record(_record(loop, report, best, archive.candidate(first)), path)
    return Finished(read_record(path), path)


def _record(loop: Loop, report: Report, best: Try, seed: Candidate) -> Record:
    task, archive = loop.task, loop.archive
    seed_score, best_score = Score.model_validate(report.seed), Score.model_validate(report.best)
    gain, interval = None, None
    if seed_score.ok and best_score.ok:
        gain, interval = paired_difference(best_score.units, seed_score.units)
    metric = task.metric
    if metric.log_units and gain is not None and interval is not None:
        gain, interval = math.exp(gain), (math.exp(interval[0]), math.exp(interval[1]))
    books = archive.spending(task.name)
    generations = archive.generations(task.name)
    run = {
        "agent": loop.agent.name, "levers": loop.levers.name, "plan": asdict(loop.plan), "stopped": books.stopped,
        "spent": asdict(Spent(books.candidates, books.seconds, books.tokens, books.money)), "malformed": books.malformed,
        "splits": report.curve, "generations": [
            {"number": g.number, "lever": g.lever, "why": g.why, "gain": g.gain, "best": g.best, "adapter": g.adapter,
             "canary": g.canary, "watch": g.watch, "cost": g.cost}
            for g in generations
        ],
    }  # fmt: skip
    return Record(
        kind="run", task=task.name, metric=metric.name, unit=metric.unit, direction=metric.direction.value,
        split=Split.REPORT.value, best=measurement(archive.candidate(best), best_score), seed=measurement(seed, seed_score),
        gain=gain, gain_interval=interval, gain_is_ratio=metric.log_units, lever=best.lever, generation=best.generation,
        lineage=archive.lineage(best), tries=len(archive.tries(task.name)), wall_seconds=report.wall_s, run=run,
    )  # fmt: skip


def measurement(candidate: Candidate, score: Score) -> Measurement:
    """A score and its program, as a record holds them."""
    fields = score.model_dump(mode="json")
    fields["n"] = len(score.units)
    return Measurement(name=candidate.name, sha=candidate.sha, source=candidate.source, **fields)


def shown(task: Task, score: Score | None) -> str:
    """A score in a few words."""
    if score is None or not score.ok or score.value is None or score.interval is None:
        return f"{score.verdict.value}: {score.reason}" if score else "not scored"
    arrow = "↑" if task.metric.direction is Direction.UP else "↓"
    low, high = score.interval
    return f"{task.metric.name} {arrow} {score.value:.4g} [{low:.4g}, {high:.4g}]"
