"""Score a file of answers that somebody sent, without a sandbox because nothing of it runs, and say so in its record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.registry import task as find
from benchmarks.task import Candidate, Score
from feedback.report import measurement
from results.record import Record, write_record
from results.store import RUNS
from sandboxes.base import UserError

SUFFIXES = {".csv", ".jsonl", ".json"}
KEPT_BYTES = 2 * 2**20
"""Up to this size the file itself stands in the record, so that anybody can score it again."""
STATEMENT = (
    "A file of answers was scored: nothing ran in a sandbox, the labels are public, and how it was made is a claim."
)


def is_submission(file: Path | None) -> bool:
    """True for a file of answers rather than a program, by its ending."""
    return file is not None and file.suffix.lower() in SUFFIXES


def score_submission(name: str, file: Path, progress: Callable[[str], None], note: str = "") -> tuple[Score, Path]:
    """Score a file of answers to the report split and write a record. Raises UserError."""
    task = find(name)
    if not task.takes_submissions:
        raise UserError(
            f"{name} takes programs only: give it a Python file that defines what `ratchet tasks {name}` says"
        )
    if not file.is_file():
        raise UserError(f"no such file: {file}")
    task.fetch(progress)
    progress(f"reading {file.name}")
    try:
        score = task.score_submission(file)
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        kept = file.read_text("utf-8", "replace") if score.ok and file.stat().st_size <= KEPT_BYTES else ""
    except OSError as error:
        raise UserError(f"can't read {file}: {error.strerror}") from error
    best = measurement(Candidate(source=kept, name=file.name), score).model_copy(update={"sha": digest})
    metric = task.metric
    record = Record(
        kind="submitted-file", task=name, metric=metric.name, unit=metric.unit, direction=metric.direction.value,
        split="report", best=best, note=f"{STATEMENT} {note}".strip(),
    )  # fmt: skip
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    return score, write_record(record, RUNS / "scores" / f"{name}-{stamp}-{digest[:8]}.json")
