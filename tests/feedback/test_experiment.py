"""The short form of the experiment: the real loop, three arms, one seed, and the table that comes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feedback.experiments import levers
from feedback.experiments.analysis import effects, figures
from feedback.experiments.arms import ARMS
from sandboxes.base import UserError

SHORT = [
    "--task",
    "denoising",
    "--arm",
    "H",
    "--arm",
    "random",
    "--arm",
    "Optuna",
    "--seeds",
    "1",
    "--candidates",
    "14",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("published")


@pytest.mark.sandbox
@pytest.mark.slow
def test_it_runs_resumes_and_publishes(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    work, out = folders
    line = [*SHORT, "--work", str(work), "--out", str(out)]
    levers.main([*line, "--minutes", "0"])
    assert "time is up" in capsys.readouterr().out
    assert not (out / "experiment.json").exists()

    levers.main(line)
    told = json.loads((out / "experiment.json").read_text())
    [row] = told["runs"]
    for arm in ("H", "random", "Optuna"):
        run = row[arm]
        assert run["spent"]["candidates"] <= 14
        assert run["levers"] and set(run["levers"]) == {"harness"}
        assert run["report_verdict"] == "ok"
        assert told["programs"][run["sha"]]
    assert row["H"]["gain"] > 0.1  # the library's first move is known to help, whatever the seed
    assert (out / "experiment.png").stat().st_size > 10_000
    assert "| denoising | H |" in capsys.readouterr().out

    before = (work / "denoising" / "report-0.json").read_bytes()
    levers.main(line)
    assert (work / "denoising" / "report-0.json").read_bytes() == before, "the report split was scored again"
    with pytest.raises(UserError, match="another budget"):
        levers.main([*line, "--candidates", "15"])


def row(**gains: float) -> dict[str, object]:
    spent = {"seconds": 1.0, "candidates": 4}
    arms = {a: {"gain": g, "report": g, "spent": spent, "levers": ["harness"], "gains": [g]} for a, g in gains.items()}
    return {"seed program": 1.0, "arms": arms}


def test_effects_pair_arms_of_one_task_and_seed() -> None:
    both = "H+W bandit"
    found = {("denoising", s): row(**{"H": 0.1 * s, both: 0.1 * s + 0.05, "W": 1.0}) for s in range(5)}
    told = {(e["both"], e["against"]): e for e in effects(found)}  # type: ignore[arg-type]
    against_h = told[both, "H"]
    assert against_h["mean"] == pytest.approx(0.05)
    assert (against_h["wins"], against_h["losses"], against_h["n"]) == (5, 0, 5)
    assert against_h["p"] == pytest.approx(1 / 32)  # all signs alike: one of 2^5
    assert told[both, "W"]["p"] > 0.9
    assert figures(found)["denoising"]["arms"]["H"]["gain"]["mean"] == pytest.approx(0.2)  # type: ignore[arg-type]


def test_the_arms_cover_what_is_claimed() -> None:
    assert {"H", "W", "random", "Optuna"} < set(ARMS)
    assert {a.levers for n, a in ARMS.items() if n.startswith("H+W")} == {"harness-first", "alternate", "bandit"}
