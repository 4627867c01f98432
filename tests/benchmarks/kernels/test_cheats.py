"""Every cheat runs in a real sandbox, and none gets a score."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest

import benchmarks.kernels
from benchmarks.kernels.plan import QUICK
from benchmarks.kernels.trimul.score import TASK
from benchmarks.task import Bench, Split, Verdict
from tests.benchmarks.kernels.tiny import scores

CHEATS = {path.stem: path for path in sorted((Path(benchmarks.kernels.__file__).parent / "cheats").glob("*.py"))}
EXPECTED = {
    "at_exit": {Verdict.INVALID},
    "bandwidth_hog": {Verdict.REWARD_HACK},
    "busy_child": {Verdict.REWARD_HACK},
    "busy_thread": {Verdict.REWARD_HACK},
    "changed_input": {Verdict.CRASH},
    "decoys": {Verdict.REWARD_HACK, Verdict.TIMEOUT},
    "forged_claim": {Verdict.REWARD_HACK},
    "forged_verdict": {Verdict.INVALID},
    "forced_write": {Verdict.WRONG, Verdict.CRASH},
    "hard_exit": {Verdict.INVALID},
    "headless_child": {Verdict.WRONG, Verdict.REWARD_HACK},
    "late_child": {Verdict.WRONG, Verdict.REWARD_HACK},
    "late_returned": {Verdict.WRONG, Verdict.REWARD_HACK},
    "late_thread": {Verdict.WRONG, Verdict.REWARD_HACK},
    "lazy_returned": {Verdict.INVALID},
    "out_of_bounds": {Verdict.INVALID, Verdict.CRASH},
    "reply_ahead": {Verdict.INVALID, Verdict.REWARD_HACK},
    "reply_ahead_later": {Verdict.REWARD_HACK, Verdict.INVALID},
    "system_exit": {Verdict.INVALID},
    "timer_after_done": {Verdict.WRONG, Verdict.REWARD_HACK},
    "unstoppable": {Verdict.REWARD_HACK},
    "unfinished_done": {Verdict.WRONG, Verdict.INVALID, Verdict.REWARD_HACK},
}
"""The verdicts of cheats that fail otherwise than by a wrong answer."""


PLAN = replace(QUICK, least=8, most=8, life=4)
"""Lives that are long enough for a cheat that waits, and two of them, for one that waits for the next."""
TOGETHER = 20
"""Cheats in one run: most of the time goes into starting sandboxes, and most cheats end at their first block."""


def one_shape():
    """The task with one timed shape: a verdict that falls in a timed block falls there. All checked shapes stay."""
    task = copy.copy(TASK)
    task.problem = copy.copy(TASK.problem)
    task.problem.timed = {"cpu": {Split.SEARCH: TASK.problem.shapes(Split.SEARCH)[-1:]}}
    return task


@pytest.fixture(scope="module")
def verdicts(sandboxes):
    """Every cheat's score."""
    honest = TASK.seed().source.replace("def kernel(", "def honest(")
    sources = [(name, f"{honest}\n\n{path.read_text()}") for name, path in CHEATS.items()]
    found = {}
    for first in range(0, len(sources), TOGETHER):
        some = dict(sources[first : first + TOGETHER])
        found |= scores(one_shape(), some, Bench(sandboxes, quick=True), PLAN)[0]
    return found


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_scores_nothing(name, verdicts):
    score = verdicts[name]
    assert score.value is None
    assert score.verdict in EXPECTED.get(name, {Verdict.WRONG}), score.reason
