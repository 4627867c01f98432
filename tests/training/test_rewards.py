"""Rewards: the order of verdicts, finite numbers, the natural units of each task."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.registry import task
from benchmarks.task import Score, Verdict
from training.rewards import FLOOR, MOST_OK, gain, reward

FAILURES = (Verdict.WRONG, Verdict.CRASH, Verdict.TIMEOUT, Verdict.OOM)
WORST = (Verdict.INVALID, Verdict.REWARD_HACK)
values = st.floats(min_value=0.0, max_value=1e12, allow_nan=False)
names = st.sampled_from(["denoising", "lawbench", "softmax"])


def ok(value: float, **secondary: float) -> Score:
    return Score(verdict=Verdict.OK, value=value, secondary=secondary)


@settings(deadline=None)
@given(names, values, values, st.sampled_from(FAILURES), st.sampled_from(WORST), st.floats(allow_nan=True))
def test_every_ok_is_above_every_failure_and_every_failure_above_the_floor(
    name: str, new: float, old: float, failure: Verdict, worst: Verdict, part: float
) -> None:
    good = reward(task(name), ok(new), ok(old))
    failed = reward(task(name), Score(verdict=failure, secondary={"partial": part}), ok(old))
    assert MOST_OK >= good > failed > FLOOR
    assert reward(task(name), Score(verdict=worst), ok(old)) == reward(task(name), None, ok(old)) == FLOOR
    assert all(math.isfinite(r) for r in (good, failed))


@settings(deadline=None)
@given(names, st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0.01, 10))
def test_a_better_score_is_never_worth_less(name: str, left: float, right: float, old: float) -> None:
    found = task(name)
    worse, better = sorted((left, right), key=lambda v: v if found.metric.better(2, 1) else -v)
    known = {"likelihood_margin": 1.0}
    assert reward(found, ok(better, **known), ok(old, **known)) >= reward(found, ok(worse, **known), ok(old, **known))


def test_gains_are_in_the_natural_units_of_the_task() -> None:
    known = {"likelihood_margin": 0.1}
    assert gain(task("denoising"), ok(0.2, **known), ok(0.4, **known)) == pytest.approx(math.log(2))
    assert gain(task("lawbench"), ok(0.5), ok(0.3)) == pytest.approx(0.2)
    fast = Score(verdict=Verdict.OK, value=2.0, units={"a": math.log(2), "b": math.log(2)})
    slow = Score(verdict=Verdict.OK, value=1.0, units={"a": 0.0, "b": 0.0})
    assert gain(task("softmax"), fast, slow) == pytest.approx(math.log(2))


def test_an_improvement_bought_below_the_floor_is_none() -> None:
    denoising = task("denoising")
    assert gain(denoising, ok(0.2, likelihood_margin=-0.1), ok(0.4, likelihood_margin=0.1)) == 0
    assert gain(denoising, ok(0.2, likelihood_margin=-0.1), ok(0.4, likelihood_margin=-0.2)) > 0, "no worse than before"


def test_partial_credit_lifts_a_wrong_answer_and_nothing_else() -> None:
    half = {"partial": 0.5}
    wrong = reward(task("softmax"), Score(verdict=Verdict.WRONG, secondary=half), ok(1.0))
    assert wrong > reward(task("softmax"), Score(verdict=Verdict.CRASH, secondary=half), ok(1.0))


def test_a_gain_needs_two_scores_that_are_ok() -> None:
    with pytest.raises(ValueError, match="ok"):
        gain(task("lawbench"), Score(verdict=Verdict.CRASH), ok(0.1))
