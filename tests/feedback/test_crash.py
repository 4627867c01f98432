"""Kill the controller at any moment; the same command with --resume finishes the work, once, and leaves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from sqlalchemy import func, select

from feedback.archive import Archive, Report, Try
from results.record import read_record
from sandboxes import lease
from sandboxes.docker import connect
from sandboxes.engine import engine_answers

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
GENERATIONS, WIDTH = 2, 2


def start(out: Path, *more: str, verb: str = "run") -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "cli.main", verb]
    if verb == "run":
        line += ["--preset", "quick", "--generations", str(GENERATIONS), "--width", str(WIDTH)]
    line += ["--out", str(out), *more]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def evaluators_of(pid: int) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["ppid", "cmdline"]) if p.info["ppid"] == pid]


def containers(owners: list[psutil.Process]) -> list[object]:
    if not engine_answers():
        return []
    found = connect().containers.list(all=True, filters={"label": "ratchet=sandbox"}, ignore_removed=True)
    ours = [c for c in found if any(c.labels[lease.OWNER].startswith(f"{p.pid}-") for p in owners)]
    # One that was never started runs nothing; the next controller removes it.
    return [c for c in ours if c.status != "created"]


def gone(condition: object, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False


def test_killed_at_every_stage_and_resumed(tmp_path: Path) -> None:
    kept: dict[int, str] = {}
    for kill_after in (
        "g0 seed: scoring",
        "g0 seed: mse",
        "staging 2",
        "scoring 2 tries",
        "kept",
        "second evaluator",
        "report split",
    ):
        controller = start(tmp_path, "--resume")
        assert controller.stderr is not None
        said = []
        for line in controller.stderr:
            said.append(line)
            if kill_after in line:
                break
        children = evaluators_of(controller.pid)
        controller.send_signal(signal.SIGKILL)
        controller.wait()
        assert gone(lambda ps=children: [p for p in ps if p.is_running() and p.status() != "zombie"]), (
            "an evaluator lived on"
        )
        assert gone(lambda ps=children: containers(ps)), (
            f"a container outlived a controller killed after {kill_after!r}"
        )
        assert "fault" not in "".join(said)
        runs = list(tmp_path.glob("*/archive.sqlite"))
        assert len(runs) <= 1, "resuming started another run"
        for path in runs:
            archive = Archive(path.parent)
            now = {t.id: json.dumps(t.score) for t in archive.tries("denoising", 0) if t.score}
            archive.close()
            assert kept.items() <= now.items(), "finished work was done again"
            kept = now
    assert kept, "the seed's score was never kept"

    finished = start(tmp_path, "--resume", "--json")
    out, err = finished.communicate(timeout=300)
    assert finished.returncode == 0, err
    (only,) = json.loads(out)
    records = list(tmp_path.glob("*/records/*.json"))
    assert [str(r) for r in records] == [only["record"]]
    record = read_record(records[0])
    assert record.best.verdict == "ok"
    assert record.seed is not None
    assert record.best.units.keys() == record.seed.units.keys()

    archive = Archive(records[0].parent.parent)
    with archive.session() as session:
        assert session.scalar(select(func.count()).select_from(Report)) == 1
        positions = session.execute(select(Try.generation, Try.number)).all()
    assert len(positions) == len(set(positions)) == 1 + GENERATIONS * WIDTH
    assert all(t.score is not None and (t.committed or t.stage != "ready") for t in archive.tries("denoising"))
    report = archive.report("denoising")
    assert report is not None and report.begun <= 2, "begun again only because it was killed in the middle"
    archive.close()

    again = start(tmp_path, "--resume", "--json")
    assert json.loads(again.communicate(timeout=120)[0])[0]["record"] == str(records[0])
    assert read_record(records[0]) == record, "resuming a finished run wrote another record"


@pytest.mark.model
def test_killed_in_training_and_resumed(tmp_path: Path) -> None:
    """The second generation trains; what was trained and paid before the kill is neither done nor paid again."""
    controller = start(tmp_path, "--levers", "alternate", "--no-watch")
    assert controller.stderr is not None
    for line in controller.stderr:
        if "g2 training: " in line and "round" in line:
            break
    children = evaluators_of(controller.pid)
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    assert gone(lambda: [p for p in children if p.is_running() and p.status() != "zombie"])
    [path] = tmp_path.glob("*/archive.sqlite")
    archive = Archive(path.parent)
    before = archive.spending("denoising")
    archive.close()

    finished = start(tmp_path, "--json", path.parent.name, verb="resume")
    out, err = finished.communicate(timeout=400)
    assert finished.returncode == 0, err
    [only] = json.loads(out)
    archive = Archive(path.parent)
    trained = archive.generations("denoising")[2]
    told = trained.evidence["training"]
    after = archive.spending("denoising")
    looked = sum(len(look.scores) for look in archive.looks("denoising", 2))
    reported = len(archive.report("denoising").curve)  # type: ignore[union-attr]
    archive.close()
    assert trained.lever == "weights" and trained.best is not None and trained.adapter
    assert after.candidates == before.candidates + told["candidates"] + looked + reported  # type: ignore[index]
    assert only["run"]["spent"]["candidates"] == after.candidates


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments_and_resumed(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(2):
        controller = start(tmp_path, "--resume")
        with contextlib.suppress(subprocess.TimeoutExpired):
            controller.communicate(timeout=float(rng.uniform(2, 14)))
        children = evaluators_of(controller.pid)
        controller.kill()
        controller.wait()
        assert gone(lambda ps=children: [p for p in ps if p.is_running() and p.status() != "zombie"])
        assert gone(lambda ps=children: containers(ps))
    finished = start(tmp_path, "--resume", "--json")
    out, err = finished.communicate(timeout=300)
    assert finished.returncode == 0, err
    [only] = json.loads(out)
    assert only["best"]["verdict"] == "ok"
    assert [g["number"] for g in only["run"]["generations"]] == list(range(GENERATIONS + 1))


def test_ctrl_c_leaves_nothing_and_says_how_to_go_on(tmp_path: Path) -> None:
    controller = start(tmp_path)
    assert controller.stderr is not None
    for line in controller.stderr:
        if "g0 seed: scoring" in line:
            break
    children = evaluators_of(controller.pid)
    os.kill(controller.pid, signal.SIGINT)
    _, err = controller.communicate(timeout=60)
    assert controller.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err
    assert gone(lambda: [p for p in children if p.is_running()])
    assert gone(lambda: containers(children))
