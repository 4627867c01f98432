"""The shortcuts in the baselines give what the long way gives: no case left out is trained on, equal shares are equal."""

from __future__ import annotations

import runpy
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.kernel_ridge import KernelRidge

from benchmarks.lawbench.score import TASK


def program(name: str) -> dict[str, Any]:
    return runpy.run_path(str(TASK.folder / "baselines" / f"{name}.py"))


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A kernel among 30 cases, one to 5 others, and the memberships of the 30 in 4 charges."""
    rng = np.random.default_rng(0)
    points, others = rng.normal(size=(30, 8)), rng.normal(size=(5, 8))
    members = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 30)]
    return (points @ points.T).astype(np.float32), (others @ points.T).astype(np.float32), members


def test_left_one_out_in_closed_form_is_training_without_that_case(
    problem: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    own, cross, members = problem
    rerank = program("rerank")
    left_out, new = rerank["ridge_views"](own, cross, members)
    target = members - members.mean(0)
    whole = KernelRidge(alpha=rerank["RIDGE"], kernel="precomputed").fit(own, target)
    np.testing.assert_allclose(new, whole.predict(cross), atol=1e-3)
    for row in (0, 7, 29):
        rest = np.delete(np.arange(30), row)
        without = KernelRidge(alpha=rerank["RIDGE"], kernel="precomputed").fit(own[np.ix_(rest, rest)], target[rest])
        np.testing.assert_allclose(left_out[row], without.predict(own[[row]][:, rest])[0], atol=1e-3)


def test_likeness_of_a_training_case_forgets_itself(problem: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    own, _, members = problem
    means, _ = program("rerank")["likeness_views"](own, members, leave_out=True)
    mates = [i for i in range(30) if i != 3 and members[i] @ members[3]]
    assert means[3, members[3].argmax()] == pytest.approx(own[3, mates].mean(), rel=1e-4)


def test_bm25_by_hand() -> None:
    counts = CountVectorizer(analyzer="char")
    known = counts.fit_transform(["甲甲乙", "乙丙"]).astype(np.float32)
    [rows, _] = program("ensemble")["bm25"](known.tocsr(), known.tocsr())
    column = counts.vocabulary_
    rare, common = np.log(3 / 2) + 1, np.log(3 / 3) + 1
    room = 1.2 * (0.25 + 0.75 * 3 / 2.5)
    expected = np.array([rare * 2 * 2.2 / (2 + room), common * 1 * 2.2 / (1 + room)])
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(rows.toarray()[0, [column["甲"], column["乙"]]], expected, rtol=1e-5)


def test_balanced_probabilities_give_all_charges_the_same_share() -> None:
    rng = np.random.default_rng(0)
    given = rng.dirichlet([3.0, 1.0, 0.5, 1.0], size=200)
    made = program("ensemble_balanced")["balanced"](given)
    np.testing.assert_allclose(made.sum(1), 1.0)
    np.testing.assert_allclose(made.sum(0), 50.0, rtol=0.02)
    assert np.abs(given.sum(0) - 50.0).max() > 20


def test_the_re_ranker_learns_which_view_to_trust() -> None:
    rng = np.random.default_rng(0)
    charge_of = rng.integers(0, 12, 400)
    good, bad = rng.normal(size=(400, 12)), rng.normal(size=(400, 12))
    good[np.arange(400), charge_of] += 3.0
    rerank = program("rerank")
    columns, features = rerank["short_lists"]([good, bad])
    weights = rerank["fit"]((columns, features), charge_of)
    assert weights[0] > 5 * abs(weights[1])
    chosen = np.take_along_axis(columns, (features @ weights).argmax(1)[:, None], 1)[:, 0]
    assert (chosen == charge_of).mean() >= (good.argmax(1) == charge_of).mean() - 0.01
