"""Tasks are found by folder, each whole: seed, README, baselines, cheats, evaluation."""

from __future__ import annotations

import ast
import difflib

import pytest

from benchmarks.evaluate import _checked, commitment
from benchmarks.registry import ROOT, task, task_names
from benchmarks.task import Score, Verdict
from sandboxes import images
from sandboxes.base import UserError


def test_the_three_domains_are_there() -> None:
    assert {"lawbench", "denoising", "trimul"} <= set(task_names())


@pytest.mark.parametrize("name", task_names())
def test_a_task_is_whole(name: str) -> None:
    found = task(name)
    assert found.name == name
    assert found.image in images.names()
    ast.parse(found.seed().source)
    assert (found.folder / "README.md").stat().st_size > 500
    assert (found.folder / f"test_{name.replace('-', '_')}.py").exists()
    assert list((found.folder / "baselines").glob("*.py")) or list((found.folder.parent / "baselines").glob("*.py"))
    assert list((found.folder / "cheats").glob("*.py")) or list((found.folder.parent / "cheats").glob("*.py"))


def test_no_answer_is_among_what_a_sandbox_is_given() -> None:
    """Images are made of guest programs and packages only: nothing of `benchmarks/` is in them."""
    for program in images.GUEST.glob("*.py"):
        assert "benchmarks" not in program.read_text()
    for name in images.names():
        recipe = (images.RECIPES / name / "Dockerfile").read_text()
        assert {line.split()[1] for line in recipe.splitlines() if line.startswith("COPY")} <= {
            "site",
            "guest",
            "guest/compile_site.py",
        }
        lock = (images.RECIPES / name / "requirements.lock").read_text()
        assert lock.count("==") == lock.count("--hash=sha256:") > 0


@pytest.mark.parametrize("wrong", ["trimull", "denoisng", "law_bench"])
def test_a_wrong_name_suggests_the_nearest(wrong: str) -> None:
    with pytest.raises(UserError, match=difflib.get_close_matches(wrong, task_names())[0]):
        task(wrong)


@pytest.mark.parametrize(
    "score",
    [
        Score(verdict=Verdict.OK, value=float("nan"), interval=(0, 1)),
        Score(verdict=Verdict.OK, value=1.0, interval=(0, float("inf"))),
        Score(verdict=Verdict.OK, value=1.0, interval=(0, 1), units={"a": float("nan")}),
        Score(verdict=Verdict.OK),
    ],
)
def test_no_number_that_is_not_finite_gets_past_the_evaluator(score: Score) -> None:
    assert _checked(score).verdict is Verdict.INVALID
    assert _checked(score).value is None


def test_a_verdict_other_than_ok_carries_no_number() -> None:
    assert _checked(Score(verdict=Verdict.WRONG, value=1.0, interval=(0, 1), units={"a": 1.0})).value is None


def test_a_commitment_hides_a_seed_and_fixes_it() -> None:
    assert commitment(1, "n") == commitment(1, "n")
    assert len({commitment(1, "n"), commitment(2, "n"), commitment(1, "m")}) == 3
    assert ROOT.name == "benchmarks"
