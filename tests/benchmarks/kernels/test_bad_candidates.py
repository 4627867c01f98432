"""Candidates that are merely bad: each gets its verdict, and the honest program beside them its score."""

import pytest

from benchmarks.kernels.trimul.score import TASK
from benchmarks.task import Bench, Candidate, Split, Verdict

BAD = {
    "does not parse": ("def kernel(:", Verdict.INVALID, "does not parse"),
    "defines nothing": ("x = 1", Verdict.INVALID, "no function kernel"),
    "imports what is not there": ("import no_such_package", Verdict.CRASH, "ModuleNotFoundError"),
    "raises": ("def kernel(x, mask, weights, out):\n    raise KeyError('left')", Verdict.CRASH, "KeyError"),
    "takes other arguments": ("def kernel(x):\n    pass", Verdict.CRASH, "TypeError"),
    "never returns": ("def kernel(*a):\n    while True:\n        pass", Verdict.TIMEOUT, "longer than"),
    "is too large": ("#" * (1024 * 1024 + 1), Verdict.INVALID, "larger than"),
    "eats memory": (
        "hoard = []\ndef kernel(*a):\n    while True:\n        hoard.append(bytearray(2**26))",
        Verdict.OOM,
        "memory",
    ),
    "computes something else": (
        "def kernel(x, mask, weights, out):\n    out.copy_(x)",
        Verdict.WRONG,
        "out of tolerance",
    ),
}


@pytest.fixture(scope="module")
def scores(sandboxes):
    """Scores by name, the honest seed among them."""
    candidates = [Candidate(source=source, name=name) for name, (source, _, _) in BAD.items()] + [TASK.seed()]
    found = TASK.score(candidates, Split.SEARCH, 7, Bench(sandboxes, quick=True))
    return {candidate.name: score for candidate, score in zip(candidates, found, strict=True)}


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_a_bad_candidate_gets_its_verdict(name, scores):
    _, verdict, reason = BAD[name]
    assert (scores[name].verdict, scores[name].value) == (verdict, None)
    assert reason in scores[name].reason


@pytest.mark.sandbox
@pytest.mark.slow
def test_an_honest_program_among_them_is_scored(scores):
    assert scores["seed"].ok
    assert scores["seed"].backend
    assert len(scores["seed"].units) == 12
