"""A program lives several times in one run, each time in a process of its own; nothing but its files goes from one to the next."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.kernels import bootstrap
from benchmarks.kernels.plan import QUICK, Plan
from benchmarks.task import Candidate, Split, Verdict
from tests.benchmarks.kernels.tiny import SEED, SquareTask, Vector, scores

PLAN = replace(QUICK, most_launches=1)
"""One launch a block, so that calls can be counted: at most eight in a life, with checks and warm-ups, of which one is timed."""
FORGETFUL = """
calls = []
def kernel(x, weights, out):
    calls.append(len(calls))
    if len(calls) <= 8:
        out.copy_(x * x + weights['shift'])
"""
NO_STRAYS = """
import os, time
try:
    strays = [int(word) for word in open('/scratch/strays').read().split()]
except FileNotFoundError:
    strays = []
def alive(pid):
    try:
        return open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except OSError:
        return False
assert not any(map(alive, strays)), 'what an earlier life left behind is still there'
stray = os.fork()
if stray == 0:
    os.setsid()
    time.sleep(1000)
with open('/scratch/strays', 'a') as file:
    file.write(f'{stray} ')
lives = len(strays) + 1
def kernel(x, weights, out):
    out.copy_(x * x + weights['shift'])
    if x.shape[0] > 33 and lives > 4:
        raise RuntimeError('one life too many')
"""
ENDS_IN_ITS_SECOND = """
import os
seen = os.path.exists('/scratch/seen')
open('/scratch/seen', 'w').close()
def kernel(x, weights, out):
    out.copy_(x * x + weights['shift'])
    if seen:
        HOW
"""


@pytest.mark.sandbox
def test_each_life_begins_anew_and_its_predecessor_is_gone(bench):
    found, _ = scores(SquareTask(), {"forgetful": FORGETFUL, "no strays": NO_STRAYS, "honest": SEED}, bench, PLAN)
    assert {name: score.reason for name, score in found.items() if not score.ok} == {}
    assert found["honest"].units.keys() == {f"{Vector().key}/life{i}" for i in range(PLAN.least)}
    # In one life of as many blocks the first would have stopped working.
    found, _ = scores(SquareTask(), {"forgetful": FORGETFUL}, bench, replace(PLAN, least=8, most=8, life=8))
    assert found["forgetful"].verdict is Verdict.WRONG


ENDS = {
    "raise KeyError('left')": (Verdict.CRASH, "KeyError"),
    "os._exit(3)": (Verdict.CRASH, "exit code 3"),
    "os.abort()": (Verdict.CRASH, "signal 6"),
    "os.kill(os.getppid(), 9)": (Verdict.CRASH, "signal 9"),
    "os._exit(67)": (Verdict.INVALID, "something else"),
}


@pytest.mark.sandbox
def test_how_a_later_life_ends_is_how_the_program_ended(bench):
    sources = {how: ENDS_IN_ITS_SECOND.replace("HOW", how) for how in ENDS}
    found, _ = scores(SquareTask(), sources | {"honest": SEED}, bench, replace(PLAN, least=2, most=2))
    assert found["honest"].ok, found["honest"].reason
    for how, (verdict, reason) in ENDS.items():
        assert (found[how].verdict, found[how].value) == (verdict, None), (how, found[how].reason)
        assert reason in found[how].reason


@pytest.mark.sandbox
def test_a_program_that_is_alone_may_end_at_any_moment(bench):
    at = "import os\nos.path.exists('/scratch/WHEN') and os._exit(9)\n"
    first = "def kernel(x, weights, out):\n    out.copy_(x * x + weights['shift'])\n    if x.shape[0] > 33: raise KeyError(0)"
    loading = f"open('/scratch/seen', 'a').close()\n{SEED}"
    for source in ("import nothing_of_that_name", first, at.replace("WHEN", "seen") + loading):
        score = SquareTask().score([Candidate(source=source)], Split.SEARCH, 1, bench)[0]
        assert score.verdict is Verdict.CRASH, score.reason


def test_a_plan_has_whole_lives():
    with pytest.raises(ValueError, match="no whole lives of 5"):
        Plan(least=10, most=12, seconds=1.0, life=5)


def test_what_a_life_was_dealt_is_in_the_interval_whatever_number_of_shapes_share_it():
    rng, held = np.random.default_rng(7), 0
    for _ in range(200):
        dealt = rng.normal(0.0, 0.1, 16)
        low, high = bootstrap.interval({key: dealt + rng.normal(0.0, 0.01, 16) for key in "abcdefg"})
        held += low <= 0.0 <= high
    # Lives drawn for each shape by itself would give an interval that is narrower by the root of seven: it would hold half as often.
    assert 170 <= held <= 199


@pytest.mark.parametrize("lives", [{"a": np.zeros(3), "b": np.zeros(4)}, {"a": np.zeros((3, 2))}, {}])
def test_an_interval_wants_as_many_lives_for_each_shape(lives):
    with pytest.raises(ValueError, match=r"as many for each shape|needs a shape"):
        bootstrap.interval(lives)
