"""The Triton programs are right on every checked shape, as Triton's interpreter runs them on the CPU. Times need a GPU."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.registry import ROOT
from tests.benchmarks.kernels.problems import CHECKS, NAMES


@pytest.fixture(scope="module")
def mistakes():
    """What was wrong, by task and shape; None where nothing was."""
    pytest.importorskip("triton", reason="triton has wheels for Linux only")
    line = [sys.executable, "-m", "tests.benchmarks.kernels.interpret"]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(line, cwd=ROOT.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {(name, key): wrong for name, key, wrong in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", NAMES)
def test_a_triton_program_is_right(name, mistakes):
    of_this = {key: wrong for (task, key), wrong in mistakes.items() if task == name}
    assert len(of_this) >= sum(task == name for task, _ in CHECKS) - 1
    assert not {key: wrong for key, wrong in of_this.items() if wrong is not None}
