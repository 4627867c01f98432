"""Intervals against scipy's own and against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from results.stats import bootstrap_mean, paired_difference, wilson


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
