"""The Triton programs are right on every checked shape, as Triton's interpreter runs them on the CPU, and Triton compiles them for an
H100. Times need a GPU."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.registry import ROOT
from tests.benchmarks.kernels.problems import CHECKS, NAMES

H100 = 90
"""Compute capability 9.0."""
SHARED_BYTES = 227 * 1024
"""Of a block on one, at most."""
SPILLED_BYTES = 256
"""Of a thread, at most, on the stack: what does not fit its registers is in memory."""


def said(program, *arguments, **environment):
    """The JSON lines that a program of these tests prints, in a process of its own."""
    pytest.importorskip("triton", reason="triton has wheels for Linux only")
    line = [sys.executable, "-m", f"tests.benchmarks.kernels.{program}", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", **environment}
    done = subprocess.run(line, cwd=ROOT.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(row) for row in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def mistakes():
    """What was wrong, by task and shape; None where nothing was."""
    return {(name, key): wrong for name, key, wrong in said("interpret", TRITON_INTERPRET="1")}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What each kernel takes of a multiprocessor, by task."""
    cache = str(tmp_path_factory.mktemp("triton"))
    found = {name: [] for name in NAMES}
    for row in said("compile_triton", str(H100), TRITON_CACHE_DIR=cache):
        found[row["task"]].append(row)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_triton_program_is_right(name, mistakes):
    of_this = {key: wrong for (task, key), wrong in mistakes.items() if task == name}
    assert len(of_this) >= sum(task == name for task, _ in CHECKS) - 1
    assert not {key: wrong for key, wrong in of_this.items() if wrong is not None}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_triton_program_compiles_for_every_timed_shape_and_fits_an_h100(name, compiled):
    assert compiled[name]
    for row in compiled[name]:
        assert row["shared"] <= SHARED_BYTES and row["local"] == 0 and row["stack"] <= SPILLED_BYTES, row
