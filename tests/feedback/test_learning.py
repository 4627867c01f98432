"""The experiment's arithmetic on a table whose answer is known, and the table's own rules."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from feedback.experiments.figures import HELD_OUT, TRAINED, expected, figures, interval, summary, tpe, uniform
from feedback.experiments.learning import TUNING, Setup, taken_up
from feedback.experiments.table import Row
from training.actions import Place

REWARDS = {"worst": -1.0, "middling": 0.0, "good": 0.5, "best": 1.0}
ROWS = {name: Row(Place("x = 1\n"), REWARDS) for name in (*TRAINED, HELD_OUT)}


def test_expected_reward_is_exact() -> None:
    even = dict.fromkeys(REWARDS, math.log(1 / 4))
    assert expected(even, ROWS["seed"]) == pytest.approx(np.mean(list(REWARDS.values())))
    assert expected({"best": 0.0}, ROWS["seed"]) == 1.0


def test_every_method_draws_the_same_number_of_candidates_at_the_same_programs() -> None:
    for found in (uniform(ROWS, 96, 0), tpe(ROWS, 96, 0)):
        assert found["candidates"] == 96 and found["distinct"] <= 8
        assert found["best_found"] == 1.0
    assert tpe(ROWS, 96, 0)["last_quarter"] > uniform(ROWS, 96, 0)["last_quarter"], "TPE searches, chance does not"
    assert uniform(ROWS, 40, 1) == uniform(ROWS, 40, 1) != uniform(ROWS, 40, 2)


def test_a_summary_by_hand() -> None:
    drawn = [("seed", "best"), (TRAINED[1], "worst"), ("seed", "best"), (TRAINED[1], "good")]
    found = summary(drawn, ROWS)
    assert found["mean"] == pytest.approx((1 - 1 + 1 + 0.5) / 4)
    assert (found["distinct"], found["last_quarter"], found["best_found"]) == (3, 0.5, 0.75)


def test_the_interval_is_students() -> None:
    values = [0.1, 0.4, 0.35, 0.2, 0.3]
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = interval(values)
    assert found["interval"] == pytest.approx([low, high]) and found["n"] == 5
    assert interval([0.1])["interval"] is None


def test_figures_of_two_seeds() -> None:
    half = {"good": math.log(0.5), "middling": math.log(0.5)}
    run = {
        "policy": {"trained": {key: {"good": 0.0} for key in ROWS}, "untrained": dict.fromkeys(ROWS, half), "seconds": {"update": 2.0},
                   **summary([("seed", "best"), (TRAINED[1], "good")] * 2, ROWS)},
        "uniform": uniform(ROWS, 4, 0), "tpe": tpe(ROWS, 4, 0),
    }  # fmt: skip
    found = figures(ROWS, [run, run])["expected reward of one action, program not trained on"]
    assert found["trained minus untrained"]["mean"] == pytest.approx(0.25)
    assert found["uniform choice"] == pytest.approx(0.125) and found["best option"] == 1.0


def test_a_published_record_is_taken_up(tmp_path: Path) -> None:
    run = {"seed": 3, "setup": {**asdict(Setup()), "temperature": 2.0}, "policy": {}}
    told = {"tasks": {"denoising": {"experiments": {"hot": {"runs": [run]}}, "table": {"seed": {"chunks": []}}}}}
    (tmp_path / "record.json").write_text(json.dumps(told))
    taken_up(tmp_path / "record.json", tmp_path / "work")
    [kept] = (tmp_path / "work").glob("denoising-3-*-t2.json")
    assert json.loads(kept.read_text()) == run
    table = tmp_path / "work" / "denoising-table.json"
    assert json.loads(table.read_text()) == {"seed": {"chunks": []}}
    table.write_text("{}")
    taken_up(tmp_path / "record.json", tmp_path / "work")
    assert table.read_text() == "{}", "what is there already is newer"


RECORD = Path(__file__).parents[2] / "results" / "published" / "training-cpu" / "learning.json"


@pytest.mark.skipif(not RECORD.exists(), reason="not published yet: python -m feedback.experiments.learning")
def test_the_published_record_says_what_was_reused() -> None:
    told = json.loads(RECORD.read_text())
    assert "scored once" in told["reuse"]
    for name, found in told["tasks"].items():
        for made in found["experiments"].values():
            counts = {run[method]["candidates"] for run in made["runs"] for method in ("policy", "uniform", "tpe")}
            assert len(counts) == 1, f"{name}: not the same number of candidates for all"
            assert {Setup(**run["setup"]) for run in made["runs"]} == {Setup(**made["setup"])}, (
                "one setup for all seeds"
            )
            assert all(run["seed"] < TUNING for run in made["runs"]), "a seed that chose the setup is not published"
        assert all(run["seed"] >= TUNING for run in found["tuning"])
        chunks = [chunk for row in found["table"].values() for chunk in row["chunks"]]
        assert all(sha256(c["seed_revealed"].encode()).hexdigest() == c["seed_commitment"] for c in chunks)
        assert len({chunk["seed_commitment"] for chunk in chunks}) == len(chunks)
