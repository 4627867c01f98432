"""What rewards say: known answers, the traps that others fell into, and one result in three array libraries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from training import advantages
from training.advantages import entropic, kl_from_uniform, leave_one_out, mean_baseline

ESTIMATORS = [
    advantages.mean_baseline,
    advantages.group_normalised,
    advantages.leave_one_out,
    advantages.best_of_group,
    advantages.best_and_worst,
    advantages.entropic,
]
Estimator = Callable[[np.ndarray], np.ndarray]
REWARDS = np.array([0.2, 0.9, 0.4])
"""What each arm of a bandit pays."""


@pytest.fixture(autouse=True)
def wide() -> Iterator[None]:
    """JAX in float64, as numpy and torch are here."""
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("estimator", ESTIMATORS)
@settings(deadline=None, max_examples=8)  # JAX compiles each operation for each new length
@given(rewards=st.lists(st.integers(-8, 8).map(lambda n: n / 4), min_size=1, max_size=6))
def test_numpy_torch_and_jax_agree(estimator: Estimator, rewards: list[float]) -> None:
    expected = estimator(np.asarray(rewards))
    np.testing.assert_allclose(estimator(torch.tensor(rewards, dtype=torch.float64)).numpy(), expected, atol=1e-9)
    with jax.enable_x64(True):
        np.testing.assert_allclose(np.asarray(estimator(jnp.asarray(rewards))), expected, atol=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("reward", [0.0, 0.1, -1e9, 1 / 3])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equal_rewards_say_exactly_nothing(estimator: Estimator, reward: float, count: int) -> None:
    assert not estimator(np.full(count, reward)).any()
    assert not estimator(np.full(count, reward, np.float32)).any()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(rewards=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=16))
def test_advantages_are_finite_and_bounded(estimator: Estimator, rewards: list[float]) -> None:
    found = estimator(np.asarray(rewards))
    assert np.isfinite(found).all()
    if estimator is entropic and len(rewards) >= 3:
        assert found.max() <= len(rewards) - 1 and found.min() >= -1


@given(rewards=st.lists(st.integers(0, 1000), min_size=3, max_size=12, unique=True), scale=st.floats(1e-3, 1e3))
def test_entropic_forgets_shift_and_scale(rewards: list[int], scale: float) -> None:
    plain = np.asarray(rewards, float)
    np.testing.assert_allclose(entropic(plain), entropic(plain * scale + 5.0), rtol=1e-4, atol=1e-4)


def test_entropic_temperature_solves_its_equation() -> None:
    """An independent root finder on the definition of KL gives the same weights."""
    rewards = np.linspace(0, 0.7, 8)

    def missing(beta: float) -> float:
        q = np.exp(beta * rewards) / np.exp(beta * rewards).sum()
        return float((q * np.log(q * 8)).sum()) - math.log(2)

    beta = brentq(missing, 0, 100)
    assert beta == pytest.approx(6.72, abs=0.01)
    e = np.exp(beta * rewards)
    expected = [e[i] / np.delete(e, i).mean() - 1 for i in range(8)]
    np.testing.assert_allclose(entropic(rewards), expected, rtol=1e-6)
    assert kl_from_uniform(beta * (rewards - rewards.max())) == pytest.approx(math.log(2), abs=1e-9)


@pytest.mark.parametrize(("best", "others"), [(4, 4), (6, 2), (2, 1)])
def test_entropic_saturates_where_half_of_the_group_ties_for_best(best: int, others: int) -> None:
    """No temperature reaches ln 2: the weights are those of an infinite one, and finite."""
    found = entropic(np.array([1.0] * best + [0.0] * others))
    k = best + others
    np.testing.assert_allclose(found, [(k - 1) / (best - 1) - 1] * best + [-1.0] * others, atol=1e-9)


@pytest.mark.parametrize("gap", [2.5e-5, 1e-7, 1e-12])
def test_entropic_does_not_explode_when_two_valid_rewards_nearly_tie(gap: float) -> None:
    """Seen in the wild: an advantage of 6e10 from two rewards 2.5e-5 apart. The weight is capped at the group's size."""
    for rewards in ([0.0, 1.0, 1.0 - gap], [0.0, 0.0, 1.0, 1.0 - gap], [1.0, 1.0 - gap, 1.0 - gap]):
        found = entropic(np.array(rewards))
        assert found.max() <= len(rewards) - 1
    np.testing.assert_array_equal(entropic(np.array([1.0, 1.0 - gap])), mean_baseline(np.array([1.0, 1.0 - gap])))


def test_a_lone_winner_weighs_no_more_than_the_group() -> None:
    """Uncapped it would be 11.77 in a group of 8."""
    found = entropic(np.array([1.0] + [0.0] * 7))
    assert found[0] == pytest.approx(7)
    assert found[1:] == pytest.approx(-0.606, abs=1e-3)


# -- a bandit: three arms, every group of three draws enumerated with its probability -------------------------------


GROUPS = list(itertools.product(range(3), repeat=3))


@cache
def group_advantages(estimator: Estimator) -> list[np.ndarray]:
    return [estimator(REWARDS[list(arms)]) for arms in GROUPS]


def expected_gradient(estimator: Estimator, logits: np.ndarray) -> np.ndarray:
    """E[mean_i A_i ∇ log π(a_i)] over all groups of three draws from softmax(logits), exactly."""
    policy = np.exp(logits) / np.exp(logits).sum()
    total = np.zeros(3)
    for arms, found in zip(GROUPS, group_advantages(estimator), strict=True):
        total += np.prod(policy[list(arms)]) * found @ (np.eye(3)[list(arms)] - policy) / 3
    return total


def policy_gradient(logits: np.ndarray) -> np.ndarray:
    policy = np.exp(logits) / np.exp(logits).sum()
    return policy * (REWARDS - policy @ REWARDS)


LOGITS = np.array([0.3, -0.4, 0.8])


def test_leave_one_out_is_the_policy_gradient() -> None:
    np.testing.assert_allclose(expected_gradient(leave_one_out, LOGITS), policy_gradient(LOGITS), atol=1e-12)


def test_the_mean_baseline_is_a_known_fraction_of_it() -> None:
    np.testing.assert_allclose(
        expected_gradient(mean_baseline, LOGITS), policy_gradient(LOGITS) * (1 - 1 / 3), atol=1e-12
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_finds_the_best_arm(estimator: Estimator) -> None:
    logits = LOGITS
    for _ in range(400):
        logits = logits + expected_gradient(estimator, logits)
    policy = np.exp(logits) / np.exp(logits).sum()
    assert policy.argmax() == 1
    assert policy[1] > 0.9


def test_best_of_group_clones_the_best_of_n_distribution() -> None:
    """The weight that arm a gets in expectation is P(the best of three draws is a) = F(a)³ - F(a-)³, less the groups whose
    draws were all the same arm: they say nothing."""
    policy = np.exp(LOGITS) / np.exp(LOGITS).sum()
    got = np.zeros(3)
    for arms in GROUPS:
        weights = advantages.best_of_group(REWARDS[list(arms)])
        for arm, weight in zip(arms, weights, strict=True):
            got[arm] += np.prod(policy[list(arms)]) * weight
    order = np.argsort(REWARDS)
    cumulative = np.cumsum(policy[order]) ** 3
    expected = np.zeros(3)
    expected[order] = np.diff(cumulative, prepend=0)
    np.testing.assert_allclose(got, expected - policy**3, atol=1e-12)
