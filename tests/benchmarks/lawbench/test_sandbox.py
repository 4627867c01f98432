"""Cheats and broken programs in a real sandbox: none of them scores, and each gets the verdict that names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.models.gate import SocketGate
from benchmarks.lawbench.score import TASK
from benchmarks.task import Bench, Candidate, Score, Split, Verdict

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module", autouse=True)
def at_hand() -> None:
    reason = TASK.missing()
    if reason:
        pytest.skip(reason)


def scored(source: str, bench: Bench, seed: int = 5) -> Score:
    [score] = TASK.score([Candidate(source=source)], Split.SEARCH, seed, bench)
    return score


def cheat(name: str) -> str:
    return (TASK.folder / "cheats" / f"{name}.py").read_text()


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("exit_zero", {Verdict.INVALID}),
        ("exit_zero_hard", {Verdict.INVALID}),
        ("duplicate_ids", {Verdict.INVALID}),
        ("too_many_ids", {Verdict.INVALID}),
        ("easy_cases_only", {Verdict.INVALID}),
        ("unknown_label", {Verdict.INVALID}),
        ("huge_csv", {Verdict.INVALID}),
        ("symlink_output", {Verdict.INVALID}),
        ("device_output", {Verdict.INVALID}),
        ("directory_output", {Verdict.INVALID}),
        ("zip_output", {Verdict.INVALID}),
        ("path_ids", {Verdict.INVALID}),
        ("path_bomb", {Verdict.INVALID}),
        ("deep_json", {Verdict.INVALID}),
        ("lone_surrogates", {Verdict.INVALID}),
        ("nan_probabilities", {Verdict.INVALID}),
        ("enormous_probabilities", {Verdict.INVALID}),
        ("negative_probabilities", {Verdict.INVALID}),
        ("repeated_rank", {Verdict.INVALID}),
        ("flood", {Verdict.INVALID}),
        ("memory_bomb", {Verdict.OOM}),
        ("fork_bomb", {Verdict.TIMEOUT, Verdict.OOM, Verdict.CRASH}),
        ("sleep", {Verdict.TIMEOUT}),
    ],
)
def test_cheat_does_not_count(name: str, verdicts: set[Verdict], bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # Bounds of the same kind as the task's, but soon reached; who is to end by itself gets time on a busy machine too.
    wall = 4.0 if Verdict.TIMEOUT in verdicts else 30.0
    monkeypatch.setattr(TASK, "limits", replace(TASK.limits, wall_s=wall, memory_bytes=512 * 2**20))
    score = scored(cheat(name), bench)
    assert score.verdict in verdicts, score
    assert score.reason
    assert score.value is None


@pytest.mark.parametrize("name", ["find_labels", "read_memory", "network"])
def test_hunt_finds_nothing(name: str, bench: Bench) -> None:
    score = scored(cheat(name), bench)
    assert score.verdict is Verdict.OK, score
    assert score.secondary["abstained"] == 1.0


def test_baseline_scores_and_pairs_across_seeds(bench: Bench) -> None:
    one, other = (scored(TASK.baseline("knn").source, bench, seed) for seed in (1, 2))
    assert one.ok
    assert one.value is not None
    assert one.value > 0.4
    assert one.units.keys() == other.units.keys()
    assert one.value == other.value
    assert one.tables == {}, "rows by charge would tell the loop something of the search labels"


def test_ranks_and_probabilities_are_scored(bench: Bench) -> None:
    source = """
def predict(train, cases, charges, model):
    return [[(charges[0], 0.5), (charges[1], 0.25)] for _ in cases]
"""
    [score] = TASK.score([Candidate(source=source)], Split.REPORT, 1, bench)
    assert score.ok, score
    assert score.secondary["top5"] >= (score.value or 0.0)
    assert score.secondary["ece"] == pytest.approx(0.5 - (score.value or 0.0))
    assert score.tables.keys() == {"charges", "confusions", "reliability"}


@pytest.mark.parametrize(
    ("source", "verdict", "reason"),
    [
        ("def predict(:", Verdict.INVALID, "does not parse"),
        ("x = 1", Verdict.INVALID, "no function predict"),
        ("def predict(*a): return []", Verdict.INVALID, "list of 120"),
        ("def predict(train, cases, charges, model): return [None] * len(cases)", Verdict.INVALID, "as a string"),
        ("def predict(train, cases, charges, model): return [[1, 2]] * len(cases)", Verdict.INVALID, "ranked list"),
        ("def predict(*a): raise KeyError('facts')", Verdict.CRASH, "KeyError"),
        ("import os\nos.kill(os.getpid(), 9)", Verdict.CRASH, "signal 9"),
    ],
)
def test_broken_program_is_told_why(source: str, verdict: Verdict, reason: str, bench: Bench) -> None:
    score = scored(source, bench)
    assert score.verdict is verdict
    assert reason in score.reason


@pytest.mark.model
def test_seed_asks_the_model_within_its_budget(bench: Bench, tmp_path: Path) -> None:
    gate = SocketGate(tmp_path / "model.jsonl")
    score = scored(TASK.seed().source, replace(bench, model=gate))
    assert score.ok, score
    assert (tmp_path / "model.jsonl").stat().st_size > 0
