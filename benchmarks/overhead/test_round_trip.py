"""Round trip of one candidate in a fresh sandbox: start, 1 MB in, run, 1 MB out, remove."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sandboxes.base import Limits, SandboxFactory
from sandboxes.session import open_session

MEGABYTE = bytes(range(256)) * 4096
PROGRAMS = {
    "python": "open('out', 'wb').write(open('in', 'rb').read())",
    "torch": "import torch; open('out', 'wb').write(open('in', 'rb').read())",
}
ROUNDS = {"python": 40, "torch": 8}
IMAGE = "kernels"


def in_subprocess(program: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").write_bytes(MEGABYTE)
        subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
        return (Path(folder) / "out").read_bytes()


def in_sandbox(made: SandboxFactory, program: str) -> bytes:
    with open_session(made, IMAGE, Limits()) as box:
        box.put("/scratch/in", MEGABYTE)
        result = box.exec(["python3", "-c", program])
        assert result.succeeded, result.stderr
        return box.get("/scratch/out", max_bytes=len(MEGABYTE))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("how", ["subprocess", "bubblewrap", "docker"])
def test_round_trip(
    benchmark: BenchmarkFixture, backend_with: Callable[..., SandboxFactory], how: str, program: str
) -> None:
    benchmark.group = program
    if how == "subprocess":
        run, arguments = in_subprocess, (PROGRAMS[program],)
    else:
        run, arguments = in_sandbox, (backend_with(how, IMAGE), PROGRAMS[program])  # type: ignore[assignment]
    answer = benchmark.pedantic(run, arguments, rounds=ROUNDS[program], warmup_rounds=1)  # type: ignore[no-untyped-call]
    assert answer == MEGABYTE
