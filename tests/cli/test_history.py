"""`ratchet log`, `show`, `diff` on a finished archive: text, JSON, mistakes, and text that would like to be obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.registry import task
from benchmarks.task import Candidate, Score, Verdict
from feedback.archive import Archive, Generation
from feedback.proposing import new_row
from tests.cli.test_cli import ratchet

HOSTILE = "[/bold] [red]done[/red] \x1b[2J"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder of runs with one in it: a seed, and a try that failed with words of its own."""
    folder = tmp_path / "20260101T000000-quick"
    archive = Archive(folder)
    (folder / "run.json").write_text("{}")
    known = task("denoising")
    seed, other = known.seed(), Candidate(source=known.seed().source.replace("RANK = 12", "RANK = 9"))
    first, second = (
        new_row(known, seed, 0, 0, None, "seed", ()),
        new_row(known, other, 1, 0, 1, "harness", ("RANK = 9",)),
    )
    first.score = Score(verdict=Verdict.OK, value=3.4, interval=(3.3, 3.5)).model_dump(mode="json")
    second.score = Score(verdict=Verdict.CRASH, reason=HOSTILE).model_dump(mode="json")
    second.why, second.stage = HOSTILE, "smoke"
    archive.propose([(first, seed)])
    archive.propose([(second, other)])
    for number in (0, 1):
        archive.save(
            Generation(
                task="denoising", number=number, lever="harness", why=HOSTILE, evidence={}, best=1, gain=0.0, cost={}
            )
        )
    archive.close()
    return tmp_path


@pytest.mark.parametrize("words", [["log"], ["show", "1"], ["show", "g1.0"], ["diff", "g0.0", "g1.0"]])
def test_each_verb_tells_people_and_machines(words: list[str], out: Path) -> None:
    plain = ratchet(*words, "--out", str(out))
    assert plain.returncode == 0, plain.stderr
    assert "RANK = 9" in plain.stdout and "\x1b[2J" not in plain.stdout
    told = json.loads(ratchet(*words, "--out", str(out), "--json").stdout)
    assert "RANK = 9" in json.dumps(told)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["show", "7"], "no generation 7"),
        (["show", "g9.9"], "no try 'g9.9'"),
        (["diff", "g0.0", "zzzz"], "no try 'zzzz'"),
        (["log", "nowhere"], "no run called 'nowhere'"),
        (["log", "--task", "lawbench"], "which task?"),
        (["resume", "20260101T000000-quick"], "holds no run of this version"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], hint: str, out: Path) -> None:
    done = ratchet(*words, "--out", str(out))
    assert done.returncode == 2 and hint in " ".join(done.stderr.split())
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_archive_that_is_none_is_one_line(out: Path) -> None:
    [folder] = out.iterdir()
    (folder / "archive.sqlite").write_bytes(b"no database at all" * 100)
    done = ratchet("log", "--out", str(out))
    assert done.returncode == 2 and "can't be read as an archive" in " ".join(done.stderr.split())
