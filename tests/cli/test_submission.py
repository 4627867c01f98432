"""`ratchet score TASK FILE` with a file of answers: what it says, and what its record admits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from benchmarks.lawbench import data
from benchmarks.lawbench.predictions import Answer
from benchmarks.lawbench.score import TASK
from benchmarks.lawbench.sheet import as_lines
from cli.submission import is_submission, score_submission
from results.record import read_record
from sandboxes.base import UserError
from tests.cli.test_cli import ratchet


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if reason := TASK.missing():
        pytest.skip(reason)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def all_theft(file: Path) -> Path:
    cases = data.published_files().testing
    file.write_bytes(as_lines({case.key.removeprefix("test/"): Answer(("盗窃",)) for case in cases}))
    return file


def test_the_record_says_that_nothing_ran(there: Path) -> None:
    file = all_theft(there / "theft.jsonl")
    score, path = score_submission("lawbench", file, print, note="theft for all")
    record = read_record(path)
    truth = [case.charge for case in data.load().report]
    assert score.value == truth.count("盗窃") / len(truth)
    assert (record.kind, record.best.backend, record.best.image) == ("submitted-file", "", "")
    assert "nothing ran in a sandbox" in record.note and record.note.endswith("theft for all")
    assert record.best.sha == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record.best.source.encode() == file.read_bytes()


def test_a_file_that_breaks_the_rules_has_a_reason_and_no_number(there: Path) -> None:
    file = there / "theft.csv"
    file.write_text("id,charge\n0,盗窃\n0,盗窃\n")
    score, path = score_submission("lawbench", file, print)
    assert score.reason == "theft.csv: line 3: id '0' stands twice"
    assert read_record(path).best.value is None
    assert read_record(path).best.source == ""


def test_only_tasks_that_take_answers_take_them(there: Path) -> None:
    with pytest.raises(UserError, match="ratchet tasks trimul"):
        score_submission("trimul", all_theft(there / "theft.jsonl"), print)
    with pytest.raises(UserError, match="no such file"):
        score_submission("lawbench", there / "nothing.csv", print)
    with pytest.raises(UserError, match="no such file"):
        score_submission("lawbench", Path("/dev/zero").with_suffix(".csv"), print)


def test_an_ending_tells_answers_from_a_program() -> None:
    assert is_submission(Path("a.csv")) and is_submission(Path("A.JSONL"))
    assert not is_submission(Path("a.py")) and not is_submission(None)


def test_the_command_line(there: Path) -> None:
    file = all_theft(there / "theft.jsonl")
    done = ratchet("score", "lawbench", str(file), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["verdict"], answer["secondary"]["n"]) == ("ok", 882.0)
    Path(__file__).resolve().parents[2].joinpath(answer["record"]).unlink()
    for wrong in (["--quick"], ["--split", "search"]):
        done = ratchet("score", "lawbench", str(file), *wrong)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
        assert "leave --split and --quick away" in done.stderr
