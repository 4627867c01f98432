"""Format decay stops a run; noise does not."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.models.validity import Validity


def after(*rounds: tuple[int, int]) -> Validity:
    return reduce(lambda state, counts: state.after(*counts), rounds, Validity())


def test_share_is_that_of_the_last_window() -> None:
    assert after().share is None
    assert after((0, 10), (10, 10), (10, 10), (4, 10)).share == pytest.approx(24 / 30)


def test_decay_from_what_was_good() -> None:
    good, bad = [(60, 64)] * 4, [(8, 64)] * 3
    assert after(*good).decay is None
    assert "24 of the last 192" in str(after(*good, *bad).decay)
    assert "94%" in str(after(*good, *bad).decay)


def test_a_slow_fall_is_seen_too() -> None:
    rounds = [(64 - 2 * i, 64) for i in range(30)]
    stopped = next(i for i in range(len(rounds)) if after(*rounds[: i + 1]).decay)
    assert 15 < stopped < 25


def test_never_valid_is_decay_once_there_is_a_window() -> None:
    assert after((0, 64), (0, 64)).decay is None
    assert after((0, 64), (0, 64), (0, 64)).decay


def test_a_few_answers_prove_nothing() -> None:
    """None of three valid: the interval still reaches over a half."""
    assert after((0, 1), (0, 1), (0, 1)).decay is None


@given(st.lists(st.integers(28, 32), max_size=20))
def test_a_steady_share_never_stops_a_run(valid: list[int]) -> None:
    assert after(*((count, 32) for count in valid)).decay is None


def test_a_round_without_a_question_changes_nothing_and_impossible_counts_are_refused() -> None:
    assert after((0, 0)) == Validity()
    with pytest.raises(ValueError, match="can't be valid"):
        Validity().after(3, 2)
