"""A record: one published result with all that is needed to judge it and to run it again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from results.provenance import Provenance, provenance
from results.store import write_atomically

SCHEMA = 1


class Measurement(BaseModel):
    """What the evaluator said of one program, with the raw values behind the number."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha: str
    """Content hash of source and weights."""
    source: str
    verdict: str
    reason: str = ""
    value: float | None = None
    interval: tuple[float, float] | None = None
    """95 % interval."""
    n: int = 0
    """Number of raw values."""
    units: dict[str, float] = Field(default_factory=dict)
    secondary: dict[str, float] = Field(default_factory=dict)
    raw: dict[str, list[float]] = Field(default_factory=dict)
    """Series as they were measured."""
    advice: list[str] = Field(default_factory=list)
    """What a reader of the program should look at."""
    tables: dict[str, list[dict[str, str | float]]] = Field(default_factory=dict)
    """Breakdowns by name, as rows."""
    seconds: float = 0.0
    image: str = ""
    backend: str = ""
    seed_commitment: str = ""
    seed_revealed: str = ""


class Record(BaseModel):
    """One result on one task and split."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA
    kind: str
    """`run` (a loop's best against its seed), `score` (one candidate, run in a sandbox), or `submitted-file` (answers
    that somebody sent: nothing ran, so the record says how good the file is and not how it was made)."""
    task: str
    metric: str
    unit: str
    direction: str
    split: str
    best: Measurement
    seed: Measurement | None = None
    """The program that the run started from, measured in the same scoring."""
    gain: float | None = None
    """Best against seed over the same units: their mean paired difference, or ratio where `gain_is_ratio`."""
    gain_interval: tuple[float, float] | None = None
    gain_is_ratio: bool = False
    lever: str = ""
    generation: int = 0
    lineage: list[str] = Field(default_factory=list)
    """The moves that lead from the seed to the best, in order."""
    run: dict[str, Any] = Field(default_factory=dict)
    """How a loop came to it: agent, lever policy, plan, what it spent, why it ended, each generation with its canary and its
    second evaluator, and the value on both splits of every program that was the best once."""
    tries: int = 0
    """Candidates scored on the search split on the way."""
    wall_seconds: float = 0.0
    pictures: list[str] = Field(default_factory=list)
    """Names of image files beside the record."""
    note: str = ""
    """What a reader must know to judge the number, in a sentence."""
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    provenance: Provenance = Field(default_factory=provenance)


def write_record(record: Record, path: Path) -> Path:
    """Write a record as JSON, whole or not at all. NaN and infinity are refused (ValueError)."""
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, text.encode())


def read_record(path: Path) -> Record:
    """Read a record; raises pydantic.ValidationError when it is not one."""
    data: dict[str, Any] = json.loads(path.read_text())
    return Record.model_validate(data)
