"""Intervals against scipy's own and against what they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from results.stats import FLIPS, bootstrap_mean, paired_difference, sign_flip, wilson


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    k, n = counts
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_nonsense(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="wilson"):
        wilson(k, n)


def test_bootstrap_agrees_with_the_normal_interval_of_a_large_sample() -> None:
    values = np.random.default_rng(1).normal(3, 2, 4000)
    low, high = bootstrap_mean(values, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(values.size)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.006)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for trial in range(300):
        low, high = bootstrap_mean(rng.exponential(1.0, 60), resamples=400, seed=trial)
        inside += low <= 1.0 <= high
    assert 0.88 <= inside / 300 <= 0.99


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")], [[1.0]]])
def test_bootstrap_refuses_what_is_not_a_finite_vector(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean(np.array(values))


def test_pairing_removes_what_the_units_have_in_common() -> None:
    rng = np.random.default_rng(3)
    hardness = rng.normal(0, 10, 200)
    old = {str(i): float(h) for i, h in enumerate(hardness)}
    new = {key: value + 0.5 + float(rng.normal(0, 0.1)) for key, value in old.items()}
    mean, (low, high) = paired_difference(new, old)
    assert low < 0.5 < high
    assert high - low < 0.05
    assert mean == pytest.approx(0.5, abs=0.03)


def test_unpaired_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="same units"):
        paired_difference({"a": 1.0}, {"b": 1.0})


@given(st.lists(st.floats(-1e6, 1e6), max_size=10))
def test_on_few_units_it_is_the_full_enumeration(values: list[float]) -> None:
    seen, slack = sum(values), 1e-12 * sum(map(abs, values))
    sums = [
        sum(s * v for s, v in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    expected = np.mean([s >= seen - slack for s in sums]) if seen > 0 else 1.0
    assert sign_flip(values) == pytest.approx(expected)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 40))
def test_on_answers_right_or_wrong_it_is_mcnemars_exact_test(gained: int, lost: int, same: int) -> None:
    p = sign_flip([1.0] * gained + [-1.0] * lost + [0.0] * same)
    if gained <= lost:
        assert p == 1.0
        return
    exact = binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue
    noise = 5 * math.sqrt(exact * (1 - exact) / FLIPS) + 2 / FLIPS
    assert p == pytest.approx(exact, abs=1e-12 if gained + lost <= 15 else noise)


def test_a_p_value_is_never_zero_and_has_no_luck_in_it() -> None:
    sure = [1.0] * 200
    assert sign_flip(sure) == 1 / (1 + FLIPS) == sign_flip(sure)
    assert sign_flip(sure, flips=1_000_000) == 1 / 1_000_001
    assert sign_flip([]) == sign_flip([0.0] * 5) == 1.0


def test_p_values_of_noise_are_uniform() -> None:
    rng = np.random.default_rng(3)
    found = [sign_flip(rng.standard_t(3, 40), flips=2000) for _ in range(400)]
    for level in (0.01, 0.05, 0.2):
        kept = sum(p <= level for p in found)
        assert binomtest(kept, 400, level, alternative="greater").pvalue > 1e-3
