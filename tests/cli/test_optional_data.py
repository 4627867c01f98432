"""Data that many machines can't reach is fetched only when it is asked for by name, and its absence stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.lawbench.multilabel.score import TASK
from benchmarks.registry import task, task_names
from cli import data, doctor


def test_without_a_name_only_what_every_machine_can_have_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("agents.models.smollm2.fetch_model", lambda progress: asked.append("model"))
    for name in task_names():
        monkeypatch.setattr(type(task(name)), "fetch", lambda self, progress: asked.append(self.name))
    data.fetch(json=True)
    assert {"model", "lawbench", "lawbench-published", "denoising", "trimul"} <= set(asked)
    assert TASK.name not in asked
    data.fetch([TASK.name], json=True)
    assert asked[-1] == TASK.name


def test_doctor_shows_it_as_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path))
    monkeypatch.delenv("RATCHET_DATA", raising=False)
    found = {finding.what: finding for finding in doctor.examine()}
    optional = found["optional data lawbench-multilabel"]
    assert not optional.ok
    assert optional.mend == "ratchet data fetch lawbench-multilabel"
    assert not found["data lawbench"].ok
