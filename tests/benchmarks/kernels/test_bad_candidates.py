"""Candidates that are merely bad: each gets its verdict with the reason, and the honest ones beside them their score."""

from dataclasses import replace

import pytest

from benchmarks.kernels.plan import QUICK
from benchmarks.task import Bench, Verdict
from tests.benchmarks.kernels.tiny import DTYPES, SEED, SquareTask, Vector, scores

PLAN = replace(QUICK, first_s=6.0)
OUT_OF_BOUNDS = """
import ctypes
def kernel(x, weights, out):
    ctypes.memset(out.data_ptr(), 0, 2**30)
"""
NOT_C = """
import pathlib, subprocess
pathlib.Path("/scratch/k.c").write_text("int kernel( {")
subprocess.run(["cc", "-shared", "-o", "/scratch/k.so", "/scratch/k.c"], check=True)
"""
LEAK = """
hoard = []
def kernel(x, weights, out):
    hoard.append(bytearray(2**28))
    out.copy_(x * x + weights["shift"])
"""


def returning(expression):
    return f"import torch\nRETURNS = True\ndef kernel(data):\n    x, weights = data\n    return {expression}\n"


def raising(text):
    return f"def kernel(*a):\n    {text}"


BAD = {
    "does not parse": ("def kernel(:", Verdict.INVALID, "does not parse"),
    "defines nothing": ("x = 1", Verdict.INVALID, "no function kernel"),
    "imports what is not there": ("import no_such_package", Verdict.CRASH, "ModuleNotFoundError"),
    "raises": (raising("raise KeyError('left')"), Verdict.CRASH, "KeyError"),
    "takes other arguments": ("def kernel(x):\n    pass", Verdict.INVALID, "TypeError"),
    "calls itself without end": (raising("kernel(*a)"), Verdict.CRASH, "RecursionError"),
    "never returns": (raising("while True: pass"), Verdict.TIMEOUT, "longer than"),
    "is too large": ("#" * (1024 * 1024 + 1), Verdict.INVALID, "larger than"),
    "is C that does not compile": (NOT_C, Verdict.CRASH, "Error"),
    "eats memory": (raising("h = []\n    while True: h.append(bytearray(2**26))"), Verdict.OOM, "memory"),
    "leaks memory": (LEAK, Verdict.OOM, "memory"),
    "asks for a terabyte": ("import torch\n" + raising("torch.ones(2**38)"), Verdict.CRASH, "memory"),
    "writes out of bounds": (OUT_OF_BOUNDS, Verdict.CRASH, "signal"),
    "writes its inputs": ("def kernel(x, weights, out):\n    x.zero_()", Verdict.CRASH, "signal"),
    "computes something else": ("def kernel(x, weights, out):\n    out.copy_(x)", Verdict.WRONG, "out of tolerance"),
    "writes nothing": (raising("pass"), Verdict.WRONG, "never written"),
    "resizes its output": (
        "import torch\ndef kernel(x, weights, out):\n    out.set_(torch.zeros(3))", Verdict.WRONG, "never written",
    ),
    "returns nothing": (returning("None"), Verdict.INVALID, "NoneType"),
    "returns another shape": (returning("x[:-1]"), Verdict.INVALID, "shape"),
    "returns another dtype": (returning("(x * x + weights['shift']).double()"), Verdict.INVALID, "dtype"),
    "returns another device": (returning("torch.empty_like(x, device='meta')"), Verdict.INVALID, "device"),
    "returns too much": (returning("(x, x)"), Verdict.INVALID, "2 outputs"),
    "returns a sparse tensor": (returning("x.to_sparse()"), Verdict.INVALID, "dense"),
    "returns its input": (returning("x"), Verdict.WRONG, "out of tolerance"),
}  # fmt: skip
HONEST = {
    "fills": SEED,
    "returns": returning("x * x + weights['shift']"),
    "returns with another stride": returning("torch.stack([x * x + weights['shift'], x], -1)[:, 0]"),
}


@pytest.fixture(scope="module")
def found(sandboxes):
    """Scores by name, the bad ones in two runs and honest ones beside each."""
    bench = Bench(sandboxes, quick=True)
    names = list(BAD)
    result = {}
    for first in range(0, len(names), 12):
        sources = {name: BAD[name][0] for name in names[first : first + 12]} | HONEST
        result |= scores(SquareTask(), sources, bench, PLAN)[0]
    return result


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_a_bad_candidate_gets_its_verdict(name, found):
    _, verdict, reason = BAD[name]
    assert (found[name].verdict, found[name].value) == (verdict, None), found[name].reason
    assert reason in found[name].reason


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_program_beside_them_is_scored(name, found):
    assert found[name].ok, found[name].reason
    assert found[name].backend
    assert len(found[name].units) == QUICK.least


@pytest.mark.sandbox
def test_every_dtype_of_the_wire_is_handed_over_and_checked(sandboxes):
    task = SquareTask(*(Vector(2000, dtype) for dtype in DTYPES))
    no_answer = "def kernel(x, weights, out):\n    if 'float' in str(x.dtype): out.copy_(x * x + weights['shift'])"
    sources = {"honest": SEED, "leaves integers alone": no_answer}
    both, run = scores(task, sources, Bench(sandboxes, quick=True), PLAN)
    assert both["honest"].ok, both["honest"].reason
    assert both["leaves integers alone"].verdict is Verdict.WRONG
    # Launches of microseconds are timed many at a time.
    assert all(count > 8 for count in run.launches.values())
