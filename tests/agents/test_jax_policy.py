"""The JAX sampler says and scores what the torch sampler does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from agents.models.adapters import Adapter
from agents.models.jax_policy import JaxPolicy
from agents.models.policy import Scored
from agents.models.smollm2 import model_folder
from agents.models.sync import hand_over
from agents.models.torch_local import LocalModel
from agents.models.torch_policy import TorchPolicy

pytestmark = pytest.mark.model
Make = Callable[..., Adapter]
QUESTIONS = ["What is the capital of France? One word.", "Name a colour that you like and say in a sentence why."]
PAIRS: list[Scored] = [("The sky is", (253, 2798, 30)), ("Once", (5,)), ("The sky is", (6,)), ("Once", ())]
# All tests use the same few buckets of shapes, because each new one is compiled; fewer new tokens stay in theirs.


@pytest.fixture(scope="module")
def policy() -> JaxPolicy:
    return JaxPolicy(model_folder(print))


@pytest.fixture
def torch_policy(exact: LocalModel) -> TorchPolicy:
    exact.wear(None)
    return TorchPolicy(exact)


def asked(policy: JaxPolicy) -> list[list[int]]:
    return [policy.encode_chat([{"role": "user", "content": text}]) for text in QUESTIONS]


@pytest.mark.parametrize("temperature", [0.4, 0.0])
def test_one_seed_gives_the_same_tokens_as_torch(
    policy: JaxPolicy, torch_policy: TorchPolicy, temperature: float
) -> None:
    """At temperatures that leave next to nothing to the rare tokens, between which rounding decides."""
    ours, theirs = (
        p.sample(asked(policy), 2, max_tokens=12, temperature=temperature, seed=5) for p in (policy, torch_policy)
    )
    for mine, other in zip([*ours[0], *ours[1]], [*theirs[0], *theirs[1]], strict=True):
        assert (mine.prompt, mine.tokens, mine.text, mine.finished) == (
            other.prompt, other.tokens, other.text, other.finished,
        )  # fmt: skip
        assert mine.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert {c.finished for group in ours for c in group} == {True, False}


def test_another_seed_gives_other_tokens(policy: JaxPolicy) -> None:
    first, second, again = (policy.sample(asked(policy), 2, max_tokens=4, seed=seed) for seed in (1, 2, 1))
    assert first != second
    assert first == again


def test_scores_and_choices_are_those_of_torch(policy: JaxPolicy, torch_policy: TorchPolicy) -> None:
    for mine, other in zip(policy.score(PAIRS), torch_policy.score(PAIRS), strict=True):
        assert mine == pytest.approx(other, abs=1e-4)
    prompts, options = ["The sky is", "Once"], [[" blue", " blue as the sea"]] * 2
    for a, b in zip(
        policy.choose(prompts, options, seed=1), torch_policy.choose(prompts, options, seed=1), strict=True
    ):
        assert (a.index, a.tokens, a.allowed) == (b.index, b.tokens, b.allowed)
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_an_adapter_is_handed_over_within_the_tolerance(
    policy: JaxPolicy, torch_policy: TorchPolicy, make: Make
) -> None:
    adapter, before = make(1), policy.score(PAIRS)
    torch_policy.load_adapter(adapter.sha)
    told = hand_over(policy, adapter.sha, PAIRS, torch_policy.score(PAIRS))
    assert told.mismatch < policy.tolerance.match < 0.01 < told.changed
    for each in (policy, torch_policy):
        each.load_adapter(None)
    assert np.concatenate(policy.score(PAIRS)) == pytest.approx(np.concatenate(before), abs=1e-6)
