"""Score one candidate on the report split and write its record: what `ratchet score` and pytest have in common."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.evaluator import Evaluator
from benchmarks.program import MAX_SOURCE_BYTES
from benchmarks.registry import task as find
from benchmarks.task import Candidate, Direction, Score, Split
from feedback.report import measurement
from results.record import Record, write_record
from results.store import RUNS
from sandboxes.base import SandboxFactory, UserError
from sandboxes.images import build


def read_candidate(file: Path) -> Candidate:
    """A user's file as a candidate. Raises UserError when it can't be read as text."""
    try:
        if not file.is_file():
            raise UserError(f"no such file: {file}")
        if file.stat().st_size > MAX_SOURCE_BYTES:
            raise UserError(f"{file} is larger than {MAX_SOURCE_BYTES} bytes; a candidate is one program")
        return Candidate(source=file.read_text(encoding="utf-8"), name=file.name)
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text") from error
    except OSError as error:
        raise UserError(f"can't read {file}: {error.strerror}") from error


def score_file(
    name: str,
    file: Path | None,
    evaluator: Evaluator,
    factory: SandboxFactory,
    progress: Callable[[str], None],
    *,
    split: Split = Split.REPORT,
    quick: bool = False,
) -> tuple[Score, Path]:
    """Score a file (or, without one, the task's seed) and write a record; returns the score and the record's path."""
    task = find(name)
    candidate = read_candidate(file) if file is not None else task.seed()
    task.fetch(progress)
    build(factory, task.image, progress)
    score = evaluator.evaluate(name, [candidate], split, quick=quick)[0]
    metric = task.metric
    record = Record(
        kind="score", task=name, metric=metric.name, unit=metric.unit, direction=metric.direction.value,
        split=split.value, best=measurement(candidate, score), wall_seconds=score.seconds,
    )  # fmt: skip
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    return score, write_record(record, RUNS / "scores" / f"{name}-{stamp}-{candidate.sha[:8]}.json")


def shown(name: str, score: Score) -> str:
    """A score in one line."""
    metric = find(name).metric
    if not score.ok or score.value is None or score.interval is None:
        return f"{score.verdict.value}: {score.reason}"
    arrow = "higher is better" if metric.direction is Direction.UP else "lower is better"
    low, high = score.interval
    return f"ok  {metric.name} {score.value:.4g} {metric.unit} ({arrow}), 95 % [{low:.4g}, {high:.4g}]"
