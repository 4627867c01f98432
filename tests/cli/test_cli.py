"""The command line as a user (or a script) meets it: exit codes, one-line errors, JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.registry import task_names

ROOT = Path(__file__).resolve().parents[2]


def ratchet(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "cli.main", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **env}, timeout=300)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["score", "trimull", "x.py"], "did you mean 'trimul'"),
        (["score", "trimul", "no-such-file.py"], "no such file: no-such-file.py"),
        (["score", "trimul", "/dev/null"], "no such file: /dev/null"),
        (["tasks", "lawbnch"], "did you mean 'lawbench'"),
        (["run", "--preset", "demmo"], "there are demo, quick"),
        (["run", "--task", "denoisng"], "did you mean 'denoising'"),
        (["images", "build", "law"], "there are"),
        (["images", "lock", "law"], "no"),
        (["score", "trimul", "README.md", "--backend", "podman"], "there are docker, bubblewrap"),
        (["score"], "Missing argument 'task'"),
        (["tasks", "--no-such-option"], "No such option"),
        (["nonsense"], "No such command"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(words: list[str], hint: str) -> None:
    done = ratchet(*words)
    assert done.returncode == 2, done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_errors_are_json_for_machines() -> None:
    done = ratchet("score", "trimull", "x.py", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_code"] == 2


def test_no_engine_is_one_clear_line(tmp_path: Path) -> None:
    program = tmp_path / "p.py"
    program.write_text("pass")
    done = ratchet("score", "denoising", str(program), "--backend", "docker", DOCKER_HOST="unix:///nonexistent.sock")
    assert done.returncode == 2
    assert "ratchet doctor --fix" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.sandbox
def test_a_full_disk_is_one_clear_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        done = ratchet("data", "fetch", "denoising", RATCHET_CACHE=str(disk))
        assert done.returncode == 2
        assert "RATCHET_CACHE" in done.stderr
        assert "Traceback" not in done.stderr
        left = [p for p in disk.rglob("*") if p.is_file() and p.stat().st_size and p.suffix != ".lock"]
        assert left == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_tasks_for_machines_and_for_people() -> None:
    listed = json.loads(ratchet("tasks", "--json").stdout)
    assert [t["name"] for t in listed] == task_names()
    for name in task_names():
        done = ratchet("tasks", name)
        assert done.returncode == 0
        assert "def " in done.stdout, f"{name}'s README doesn't show what a candidate must define"


def test_help_names_an_example() -> None:
    for verb in ("run", "score"):
        assert f"ratchet {verb}" in ratchet(verb, "--help").stdout


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("source", "code", "verdict"),
    [
        ("def denoise(counts):\n    return counts.toarray()", 0, "ok"),
        ("def denoise(counts):\n    return counts.toarray() * float('nan')", 1, "invalid"),
        ("def denoise(counts:", 1, "invalid"),
        ("raise SystemExit(0)", 1, "invalid"),
    ],
)
def test_score_says_what_a_file_is_worth(tmp_path: Path, source: str, code: int, verdict: str) -> None:
    program = tmp_path / "candidate.py"
    program.write_text(source)
    done = ratchet("score", "denoising", str(program), "--quick", "--json")
    assert done.returncode == code, done.stderr
    answer = json.loads(done.stdout)
    assert answer["verdict"] == verdict
    assert {"reason", "score", "unit", "interval", "record"} <= answer.keys()
    assert (answer["score"] is None) == (verdict != "ok")
    assert json.loads((ROOT / answer["record"]).read_text())["best"]["verdict"] == verdict
    (ROOT / answer["record"]).unlink()


def test_doctor_names_the_command_that_mends_each_missing_thing(tmp_path: Path) -> None:
    done = ratchet("doctor", "--json", RATCHET_CACHE=str(tmp_path))
    assert done.returncode == 2
    findings = {f["what"]: f for f in json.loads(done.stdout)}
    assert findings["model"]["mend"] == "ratchet data fetch model"
    assert findings["data denoising"]["mend"] == "ratchet data fetch denoising"
    for finding in findings.values():
        assert finding["ok"] or finding["mend"] or finding["what"] == "gpu"
