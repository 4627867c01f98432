"""An adapter that did not arrive stops the round, however the sampler dresses it up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agents.models.adapters import Adapter, find_adapter
from agents.models.policy import Scored
from agents.models.sync import HandOver, Mismatch, NotApplied, SyncError, check, hand_over
from agents.models.torch_local import LocalModel
from agents.models.torch_policy import TorchPolicy

pytestmark = pytest.mark.model
Make = Callable[..., Adapter]
PROBE: list[Scored] = [("The sky is", (253, 2798, 30)), ("My name is", (5, 6, 7))]


class Deaf(TorchPolicy):
    """A sampler with the fault that cost others months: it says that it wears the adapter, and never loads it."""

    said: str | None = None

    @property
    def adapter(self) -> str | None:
        return self.said

    def load_adapter(self, adapter: Path | str | None) -> None:
        self.said = None if adapter is None else find_adapter(adapter).sha


@pytest.fixture
def expected(exact: LocalModel) -> Callable[[Adapter], list[tuple[float, ...]]]:
    """What a trainer with these weights says of the probe batch."""

    def logprobs(adapter: Adapter) -> list[tuple[float, ...]]:
        exact.wear(adapter.sha)
        found = TorchPolicy(exact).score(PROBE)
        exact.wear(None)
        return found

    return logprobs


Expected = Callable[[Adapter], list[tuple[float, ...]]]


def test_a_real_hand_over_passes_and_says_how_far_it_went(exact: LocalModel, make: Make, expected: Expected) -> None:
    first, second = make(1), make(2)
    policy = TorchPolicy(exact)
    wanted = expected(first), expected(second)
    for adapter, numbers in zip((first, second), wanted, strict=True):
        told = hand_over(policy, adapter.sha, PROBE, numbers)
        assert isinstance(told, HandOver)
        assert told.adapter == adapter.sha
        assert told.mismatch < 1e-4 < 0.01 < told.changed
    exact.wear(None)


def test_an_adapter_that_was_not_applied(exact: LocalModel, make: Make, expected: Expected) -> None:
    adapter = make(1)
    with pytest.raises(NotApplied, match="not applied"):
        hand_over(Deaf(exact), adapter.sha, PROBE, expected(adapter))


def test_the_wrong_adapter(exact: LocalModel, make: Make, expected: Expected) -> None:
    wanted, other = expected(make(1)), make(2)
    with pytest.raises(Mismatch, match="differs from the trainer"):
        hand_over(TorchPolicy(exact), other.sha, PROBE, wanted)
    exact.wear(None)


def test_an_adapter_that_changes_nothing(exact: LocalModel, make: Make, expected: Expected) -> None:
    nothing = make(1, size=0.0)
    with pytest.raises(NotApplied, match="no different"):
        hand_over(TorchPolicy(exact), nothing.sha, PROBE, expected(nothing))
    exact.wear(None)


def test_the_same_adapter_again_is_no_hand_over(exact: LocalModel, make: Make, expected: Expected) -> None:
    adapter = make(1)
    numbers, policy = expected(adapter), TorchPolicy(exact)
    hand_over(policy, adapter.sha, PROBE, numbers)
    with pytest.raises(NotApplied):
        hand_over(policy, adapter.sha, PROBE, numbers)
    exact.wear(None)


def test_a_stale_adapter_that_hides_inside_the_tolerance(exact: LocalModel, make: Make) -> None:
    """The update moves each token by half of what is tolerated; the sampler moved as far, the other way."""
    policy = Deaf(exact)
    policy.load_adapter(make(1).sha)
    old, step = np.full(6, -2.0), policy.tolerance.match / 2
    assert check(old, old + step, old + step, policy).after == 0
    with pytest.raises(Mismatch):
        check(old, old - step / 2, old + step / 2, policy)


@pytest.mark.parametrize("wrong", [float("nan"), float("-inf")])
def test_numbers_that_are_none(exact: LocalModel, make: Make, wrong: float) -> None:
    policy = Deaf(exact)
    policy.load_adapter(make(1).sha)
    old = np.full(3, -2.0)
    with pytest.raises(SyncError, match="not finite"):
        check(old, np.array([-1, wrong, -1]), old, policy)
    with pytest.raises(ValueError, match="the probe has"):
        check(old[:0], old[:0], old[:0], policy)
