"""`ratchet serve-model`: mistakes are one line, and nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from agents.models.vllm_server import environment_missing
from cli.main import USER_MISTAKE

COMMAND = [sys.executable, "-m", "cli.main", "serve-model"]


def said(*arguments: str) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == USER_MISTAKE, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    assert "there are float32 and bfloat16" in said("--dtype", "int3")
    assert "config.json" in said("--model", str(tmp_path))
    assert "--python names" in said("--python", str(tmp_path / "python"))


@pytest.mark.model
def test_a_python_without_vllm_and_a_port_that_is_taken(tmp_path: Path) -> None:
    assert "No module named 'vllm'" in said("--python", sys.executable)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        assert "is taken" in said("--python", sys.executable, "--port", str(held.getsockname()[1]))


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.skipif(environment_missing() is not None, reason=str(environment_missing()))
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_nothing_is_left_running(end: signal.Signals) -> None:
    with subprocess.Popen([*COMMAND, "--json"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, "it ended before it served"
            text += line
        served = json.loads(text)
        assert httpx.get(served["url"] + "/health", trust_env=False).status_code == 200
        guard = psutil.Process(served["pid"])
        family = [guard, *guard.children(recursive=True)]
        assert len(family) > 2
        maps = [Path(f"/proc/{p.pid}/maps").read_text().splitlines() for p in family]
        memory = {line[line.index("/") :] for lines in maps for line in lines if "/dev/shm/psm_" in line}
        assert memory
        os.kill(process.pid, end)
        assert process.wait(timeout=60) == (0 if end is signal.SIGINT else -end)
    deadline = time.monotonic() + 30
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert [path for path in memory if Path(path).exists()] == []
