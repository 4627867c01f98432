"""From rollouts to a padded batch: which token is trained, how much it weighs, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandboxes.base import UserError
from tests.training.conftest import drawn
from training.objectives import OBJECTIVES
from training.rollout import Rollout, make_batch, micro_batches, places_of, scoring_batch

DEFAULT = OBJECTIVES["mean_baseline"]
PLAIN = Rollout(prompt=(1, 2, 3), completion=(4, 5), logprobs=(-1.0, -2.0), reward=1.0, group="a")


def test_the_stream_of_a_token_stands_one_place_before_it() -> None:
    tool = Rollout((7,), (8, 9, 10), (-0.1, -0.2, -0.3), 0.0, "a", mask=(True, False, True))
    batch = make_batch([PLAIN, tool], DEFAULT, longest_answer=8)
    assert batch.tokens.tolist() == [[1, 2, 3, 4, 5], [7, 8, 9, 10, 0]]
    assert (batch.weights > 0).tolist() == [[False, False, True, True], [True, False, True, False]]
    np.testing.assert_allclose(batch.sampler, [[0, 0, -1, -2], [-0.1, 0, -0.3, 0]])
    np.testing.assert_allclose(batch.advantage, [[0, 0, 0.5, 0.5], [-0.5, 0, -0.5, 0]])


@pytest.mark.parametrize(
    ("name", "weights"),
    [("mean_baseline", (1 / 4, 1 / 4)), ("grpo", (1 / 2 / 1, 1 / 2 / 3)), ("dr_grpo", (1 / 2 / 10, 1 / 2 / 10))],
)
def test_how_much_a_token_weighs(name: str, weights: tuple[float, float]) -> None:
    """By tokens all weigh the same; by sequences those of a long answer less; by a constant the length is not in it."""
    short, long = (
        replace(PLAIN, completion=(4,), logprobs=(-1.0,)),
        replace(PLAIN, completion=(4, 5, 6), logprobs=(-1.0,) * 3, reward=0.0),
    )
    batch = make_batch([short, long], OBJECTIVES[name], longest_answer=10)
    assert batch.weights[0].max() == pytest.approx(weights[0])
    assert batch.weights[1].max() == pytest.approx(weights[1])


def test_a_group_that_says_nothing_is_left_out_but_counted() -> None:
    """Leaving it out changes no gradient: the other group's tokens weigh as much as with it."""
    same = [replace(PLAIN, group="same") for _ in range(3)]
    differ = [replace(PLAIN, reward=r) for r in (0.0, 1.0)]
    batch = make_batch([*same, *differ], DEFAULT, longest_answer=8)
    assert batch.rows == (3, 4) and batch.silent == 3
    assert batch.weights.max() == pytest.approx(1 / 10)
    assert make_batch(same, DEFAULT, longest_answer=8).trained_tokens == 0


def test_a_choice_without_alternatives_is_not_trained() -> None:
    forced = replace(PLAIN, allowed=((4,), (5, 9)))
    batch = make_batch([forced, replace(PLAIN, reward=0.0)], DEFAULT, longest_answer=8)
    assert (batch.weights > 0).sum(1).tolist() == [1, 2]
    free, among = places_of(batch)
    assert free.tolist() == [6, 7] and among.tolist() == [3]
    assert batch.allowed[0, 3].tolist() == [5, 9]


def test_dpo_pairs_stay_together() -> None:
    rollouts = [replace(PLAIN, reward=float(r), group=g) for g in "ab" for r in (0, 3, 1)]
    batch = make_batch(rollouts, OBJECTIVES["dpo"], longest_answer=8)
    assert batch.rows == (1, 0, 4, 3)
    assert list(micro_batches(batch, 1, paired=True)) == [[0, 1], [2, 3]]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), budget=st.integers(1, 400), count=st.integers(1, 12))
def test_micro_batches_hold_every_row_once_within_the_budget(seed: int, budget: int, count: int) -> None:
    batch = scoring_batch([(r.prompt, r.completion) for r in drawn(seed, count=count)])
    found = list(micro_batches(batch, budget))
    assert sorted(row for rows in found for row in rows) == list(range(count))
    for rows in found:
        assert len(rows) == 1 or len(rows) * int(batch.lengths[rows].max()) <= budget


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ([], "empty group"),
        ([replace(PLAIN, prompt=())], "empty prompt"),
        ([replace(PLAIN, completion=(), logprobs=())], "empty completion"),
        ([replace(PLAIN, logprobs=(-1.0,))], "for each completion token"),
        ([replace(PLAIN, mask=(True,))], "for each completion token"),
        ([replace(PLAIN, reward=float("nan"))], "finite floor"),
        ([replace(PLAIN, logprobs=(0.5, -1.0))], "at most 0"),
        ([replace(PLAIN, logprobs=(float("-inf"), -1.0))], "finite"),
        ([replace(PLAIN, allowed=((4, 5), (6, 7)))], "include it"),
    ],
)
def test_what_is_refused(broken: list[Rollout], why: str) -> None:
    with pytest.raises(UserError, match=why):
        make_batch(broken, DEFAULT, longest_answer=8)


def test_a_group_of_one_says_nothing(draw: Callable[..., list[Rollout]]) -> None:
    for chosen in OBJECTIVES.values():
        assert make_batch(draw(0, count=1), chosen, longest_answer=8).trained_tokens == 0
