"""Pictures say what the record says, and the record names them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.lawbench import pictures
from benchmarks.lawbench.data import Case
from benchmarks.lawbench.pictures import Point, draw_learning, illustrate, thinned
from benchmarks.lawbench.predictions import Answer
from benchmarks.lawbench.score import TASK
from benchmarks.lawbench.sheet import score_answers, sheet
from benchmarks.task import Candidate
from feedback.report import measurement
from results.record import Record, read_record, write_record
from sandboxes.base import UserError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    shown = sheet([Case(f"test/{i}", "", truth) for i, truth in enumerate(["盗窃"] * 3 + ["诈骗"])], 1)
    answers = {name: Answer(("盗窃", "诈骗"), (0.7, 0.2)) for name in shown.ids}
    best = measurement(Candidate(source="", name="all theft"), score_answers(shown, answers, tables=True))
    record = Record(
        kind="score", task="lawbench", metric="a", unit="b", direction="up", split="report", best=best
    )  # fmt: skip
    return write_record(record, tmp_path / "theft.json")


def test_a_record_is_drawn_and_names_its_pictures(path: Path) -> None:
    if reason := TASK.missing():
        pytest.skip(reason)
    files = illustrate(path, [Point(10, 0.5, (0.4, 0.6)), Point(100, 0.7, (0.6, 0.8))])
    assert [file.name for file in files] == ["theft-confusions.png", "theft-calibration.png", "theft-learning.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert read_record(path).pictures == sorted(file.name for file in files)
    first = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in illustrate(path)] == first[:2], "the same record gives the same pictures"


def test_the_bars_are_the_counts_of_the_table(path: Path) -> None:
    figure = pictures.draw_confusions(read_record(path), ["盗窃", "诈骗"])
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1.0]
    curve = draw_learning([Point(10, 0.5, (0.4, 0.6)), Point(20, 0.7, (0.6, 0.8))], "x").axes[0].lines[0]
    assert curve.get_xydata().tolist() == [[10, 0.5], [20, 0.7]]


def test_a_record_without_tables_is_told_what_to_do(path: Path) -> None:
    record = json.loads(path.read_text())
    record["best"]["tables"] = {}
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="ratchet score lawbench"):
        illustrate(path)


def test_less_training_is_part_of_more() -> None:
    cases = [Case(f"train/{i}", "", charge) for i, charge in enumerate("abcabcabcd")]
    few, more = thinned(cases, 0.3), thinned(cases, 0.7)
    assert {case.charge for case in few} == set("abcd")
    assert set(few) < set(more) < set(thinned(cases, 1.0)) == set(cases)
