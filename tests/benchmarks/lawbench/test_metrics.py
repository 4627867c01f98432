"""The metrics agree with scikit-learn, with numpy, and with sums done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support, top_k_accuracy_score

from benchmarks.lawbench import metrics

CHARGES = ["盗窃", "抢劫", "诈骗", "赌博"]
pairs = st.lists(st.tuples(st.sampled_from(CHARGES), st.sampled_from([*CHARGES, ""])), min_size=1, max_size=60)


@given(pairs)
def test_macro_f1_is_that_of_scikit_learn_over_the_charges_that_occur(both: list[tuple[str, str]]) -> None:
    truth, predicted = [t for t, _ in both], [p for _, p in both]
    expected = f1_score(truth, predicted, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert math.isclose(metrics.macro_f1(truth, predicted), expected, abs_tol=1e-12)


@given(pairs)
def test_table_by_charge_is_that_of_scikit_learn(both: list[tuple[str, str]]) -> None:
    truth, predicted = [t for t, _ in both], [p for _, p in both]
    rows = metrics.by_charge(truth, predicted)
    labels = [row["charge"] for row in rows]
    assert set(labels) == {*truth, *predicted} - {""}
    expected = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=np.nan)
    for row, precision, recall, f1, cases in zip(rows, *expected, strict=True):
        assert row["cases"] == cases
        assert math.isclose(float(row["f1"]), 0.0 if math.isnan(f1) else f1, abs_tol=1e-12)
        assert math.isclose(float(row.get("precision", math.nan)), precision) or "precision" not in row
        assert math.isclose(float(row.get("recall", math.nan)), recall) or "recall" not in row
        assert ("precision" in row) == (row["given"] > 0)
        assert ("recall" in row) == (cases > 0)


@given(st.integers(0, 2**32), st.integers(1, 3))
def test_top_k_is_that_of_scikit_learn(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = rng.permuted(np.tile(np.arange(4.0), (20, 1)), axis=1), rng.integers(0, 4, 20)
    ranked = [[CHARGES[j] for j in np.argsort(-row)] for row in scores]
    expected = top_k_accuracy_score(truth, scores, k=k, labels=range(4))
    assert math.isclose(metrics.top_k([CHARGES[t] for t in truth], ranked, k), expected)


def test_calibration_by_hand() -> None:
    # (0.6, 0.667]: two cases, one right, 0.65 sure: gap 0.15. (0.933, 1]: two right and 0.95 sure on average: gap 0.05.
    right, sure = [True, False, True, True], [0.64, 0.66, 0.9 + 0.04, 0.96]
    assert metrics.calibration_error(right, sure) == pytest.approx((2 * 0.15 + 2 * 0.05) / 4)
    assert metrics.calibration_error([True], [1.0]) == 0.0
    assert metrics.calibration_error([False], [0.0]) == 0.0
    with pytest.raises(ValueError, match="at least one"):
        metrics.calibration_error([], [])


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=50), st.integers(1, 20))
def test_calibration_is_that_of_numpy_histograms(both: list[tuple[bool, float]], bins: int) -> None:
    right, sure = np.array([r for r, _ in both], float), np.array([p for _, p in both])
    edges = np.array([(b + 1) / bins for b in range(bins)])
    place = np.minimum(np.searchsorted(edges, sure, side="left"), bins - 1)
    gaps = [abs(right[place == b].sum() - sure[place == b].sum()) for b in range(bins)]
    found = metrics.calibration_error([r for r, _ in both], [p for _, p in both], bins)
    assert math.isclose(found, sum(gaps) / len(both), abs_tol=1e-9)


@given(pairs)
def test_confusions_are_the_wrong_answers(both: list[tuple[str, str]]) -> None:
    rows = metrics.confusions([t for t, _ in both], [p for _, p in both])
    counts = [float(row["cases"]) for row in rows]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == sum(t != p for t, p in both)


sets = st.frozensets(st.sampled_from(CHARGES), max_size=3)


@given(sets, sets)
def test_set_f1_is_the_harmonic_mean_of_precision_and_recall(truth: frozenset[str], predicted: frozenset[str]) -> None:
    both = len(truth & predicted)
    precision, recall = both / len(predicted) if predicted else 0.0, both / len(truth) if truth else 0.0
    expected = 2 * precision * recall / (precision + recall) if both else 0.0
    assert math.isclose(metrics.set_f1(truth, predicted), expected)
