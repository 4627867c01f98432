"""The score keeps what pairing needs, and says the secondary quantities only where the answers allow them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from benchmarks.lawbench import data
from benchmarks.lawbench.data import Case
from benchmarks.lawbench.predictions import Answer
from benchmarks.lawbench.published.score import TASK as PUBLISHED
from benchmarks.lawbench.score import TASK
from benchmarks.lawbench.sheet import as_lines, score_answers, sheet
from benchmarks.task import Verdict
from results.stats import wilson

CHARGES = ["盗窃", "抢劫", "诈骗", "赌博"]
pairs = st.lists(st.tuples(st.sampled_from(CHARGES), st.sampled_from([*CHARGES, ""])), min_size=1, max_size=60)


@given(pairs, st.integers(0, 2**32))
def test_score_of_answers(both: list[tuple[str, str]], seed: int) -> None:
    shown = sheet([Case(f"test/{i}", "", truth) for i, (truth, _) in enumerate(both)], seed)
    chosen = {name: both[int(case.key.removeprefix("test/"))][1] for name, case in shown.cases}
    score = score_answers(shown, {name: Answer((c,) if c else ()) for name, c in chosen.items()}, tables=True)
    assert score.verdict is Verdict.OK
    assert score.value is not None
    assert math.isclose(score.value, accuracy_score([t for t, _ in both], [p for _, p in both]))
    assert score.interval == wilson(sum(t == p for t, p in both), len(both))
    assert score.units == {f"test/{i}": float(t == p) for i, (t, p) in enumerate(both)}
    assert math.isclose(score.secondary["abstained"], sum(p == "" for _, p in both) / len(both))
    assert not {"top5", "ece"} & score.secondary.keys()
    assert sum(float(row["cases"]) for row in score.tables["charges"]) == len(both)
    assert sum(float(row["cases"]) for row in score.tables["confusions"]) == sum(t != p for t, p in both)


def test_ranks_and_probabilities_bring_top5_and_calibration() -> None:
    shown = sheet([Case("test/0", "", "盗窃"), Case("test/1", "", "抢劫")], 1)
    answers = {name: Answer(("盗窃", "抢劫"), (0.75, 0.25)) for name in shown.ids}
    score = score_answers(shown, answers, tables=True)
    assert score.value == 0.5
    assert score.secondary["top5"] == 1.0
    assert score.secondary["ece"] == pytest.approx(0.25)
    assert score.tables["reliability"] == [{"bin": "(0.73, 0.80]", "cases": 2.0, "confidence": 0.75, "accuracy": 0.5}]
    assert score_answers(shown, answers, tables=False).tables == {}


@pytest.fixture
def files() -> data.PublishedFiles:
    if reason := TASK.missing():
        pytest.skip(reason)
    return data.published_files()


def test_one_submitted_file_is_scored_without_and_with_the_cases_left_out(
    files: data.PublishedFiles, tmp_path: Path
) -> None:
    # All right, but for the cases that were also in the training file.
    left_out = {case.key for case in data.load().left_out}
    answers = {c.key.removeprefix("test/"): Answer(() if c.key in left_out else (c.charge,)) for c in files.testing}
    file = tmp_path / "answers.jsonl"
    file.write_bytes(as_lines(answers))
    clean, published = TASK.score_submission(file), PUBLISHED.score_submission(file)
    assert (clean.value, len(clean.units)) == (1.0, 882)
    assert (published.value, len(published.units)) == (882 / 913, 913)


def test_a_submitted_file_without_the_scored_cases_has_no_score(files: data.PublishedFiles, tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    file.write_text("id,charge\n0,盗窃\n")
    score = TASK.score_submission(file)
    assert (score.verdict, score.value) == (Verdict.INVALID, None)
    assert score.reason.startswith("answers.csv: 881 of 882 cases")
