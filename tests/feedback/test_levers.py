"""Lever policies: what each does with a history of gains, and that the bandit finds the lever that pays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.decision import Lever
from feedback.levers import BOTH, POLICIES, Bandit, HarnessFirst, LeverPolicy, Pull, lever_policy
from sandboxes.base import UserError

H, W = BOTH
pulls = st.lists(st.builds(Pull, st.sampled_from(BOTH), st.floats(0, 1), st.floats(0, 1000)), max_size=20)


def played(policy: LeverPolicy, gains: dict[Lever, list[float]], generations: int) -> list[Lever]:
    """The levers that a policy pulls where the n-th pull of a lever gains `gains[lever][n]` (nothing after the last)."""
    history: list[Pull] = []
    for number in range(generations):
        lever = policy.choose(history, (0, number)).lever
        assert lever is not None
        done = sum(p.lever is lever for p in history)
        history.append(Pull(lever, dict(enumerate(gains[lever])).get(done, 0.0), 1.0))
    return [p.lever for p in history]


@pytest.mark.parametrize(("name", "lever"), [("harness", H), ("weights", W)])
@given(history=pulls)
def test_one_lever_always(name: str, lever: Lever, history: list[Pull]) -> None:
    assert lever_policy(name).choose(history, (1,)).lever is lever
    assert lever_policy(name).levers == (lever,)


def test_by_turns() -> None:
    assert played(lever_policy("alternate"), {H: [], W: []}, 5) == [H, W, H, W, H]


def test_the_harness_until_it_stops_paying_then_the_weights_and_back() -> None:
    assert played(HarnessFirst(), {H: [1, 1, 0, 0], W: [0, 0]}, 8) == [H, H, H, H, W, W, H, H]
    assert played(HarnessFirst(), {H: [1, 0, 1, 0, 0], W: [1] * 9}, 9) == [H] * 5 + [W] * 4
    assert played(HarnessFirst(patience=1), {H: [], W: []}, 4) == [H, W, H, W]


def test_the_agent_may_say() -> None:
    choice = lever_policy("agent").choose([], (0,))
    assert choice.lever is None and lever_policy("agent").levers == BOTH


@pytest.mark.parametrize("name", POLICIES)
@given(history=pulls, seed=st.integers(0, 2**31))
def test_same_history_and_seed_same_choice(name: str, history: list[Pull], seed: int) -> None:
    one, other = (lever_policy(name).choose(history, (seed, 3)) for _ in range(2))
    assert one == other
    assert one.lever is None or one.lever in lever_policy(name).levers
    assert one.why


def test_the_bandit_pulls_each_lever_once_before_it_compares() -> None:
    assert played(Bandit(), {H: [9.0], W: []}, 2) == [H, W]


def share_of(better: Lever, means: dict[Lever, float], seconds: dict[Lever, float], rounds: int = 40) -> float:
    """How often the better lever is pulled in the second half, over 40 bandits. Half of all pulls keep nothing."""
    found = []
    for seed in range(40):
        rng, history = np.random.default_rng(seed), list[Pull]()
        for number in range(rounds):
            lever = Bandit().choose(history, (seed, number)).lever
            assert lever is not None
            gain = rng.exponential(2 * means[lever]) if rng.random() < 0.5 else 0.0
            history.append(Pull(lever, gain, seconds[lever] * rng.uniform(0.8, 1.2)))
        found += [p.lever is better for p in history[rounds // 2 :]]
    return float(np.mean(found))


def test_the_bandit_finds_the_lever_that_gains_more_a_second() -> None:
    """Gains are larger on the lever that pays less a second, so whoever forgets the cost takes the wrong one."""
    assert share_of(H, {H: 1.0, W: 2.0}, {H: 10.0, W: 100.0}) > 0.75
    assert share_of(W, {H: 1.0, W: 3.0}, {H: 10.0, W: 10.0}) > 0.7
    assert share_of(W, {H: 0.1, W: 1.0}, {H: 10.0, W: 15.0}) > 0.75


def test_where_nothing_pays_the_cheaper_lever_is_not_neglected() -> None:
    assert share_of(H, {H: 0.0, W: 0.0}, {H: 1.0, W: 100.0}) > 0.5


def test_the_evidence_is_what_was_measured() -> None:
    choice = Bandit().choose([Pull(H, 1.0, 10.0), Pull(W, 0.0, 30.0), Pull(H, 3.0, 20.0)], (0,))
    harness, weights = choice.evidence["harness"], choice.evidence["weights"]
    assert (harness["pulls"], harness["mean_gain"], harness["mean_seconds"]) == (2, 2.0, 15.0)
    assert weights["mean_gain"] == 0.0
    # Shrunk towards the mean over all pulls, 4/3, that weighs one pull.
    assert harness["posterior_mean"] == pytest.approx((4 / 3 + 2 * 2.0) / 3)
    assert weights["posterior_mean"] == pytest.approx((4 / 3 + 0.0) / 2)


def test_an_unknown_policy_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="there are harness, weights"):
        lever_policy("both")
