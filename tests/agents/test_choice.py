"""Constrained choice: the probabilities are those of drawing token by token, exactly."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.models.choice import drawn, option_logprobs, paths
from agents.models.torch_local import LocalModel
from agents.models.torch_policy import TorchPolicy
from tests.training.tiny_model import make_actor

END = 0
OPTIONS = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=8, unique=True)


class TinyModel:
    """A next-token distribution over four tokens, another one after each prefix."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def logprobs(self, prefix: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        logits = np.random.default_rng([self.seed, len(prefix), *prefix]).normal(0, 2, 4)
        return np.asarray(logits - np.log(np.exp(logits).sum()))

    def along(self, path: tuple[int, ...]) -> list[float]:
        return [float(self.logprobs(path[:i])[token]) for i, token in enumerate(path)]


def test_probability_by_hand() -> None:
    """Options a, ab, c: at the root a and c compete, after a the end and b; the token after c is forced."""
    made, allowed = paths([[1], [1, 2], [3, 1]], END)
    assert made == [(1, END), (1, 2), (3, 1)]
    assert allowed == [((1, 3), (END, 2)), ((1, 3), (END, 2)), ((1, 3), (1,))]
    half, quarter = math.log(0.5), math.log(0.25)
    found = option_logprobs(made, [[quarter, quarter], [quarter, half], [half, -9.0]])
    assert np.exp(found) == pytest.approx([1 / 9, 2 / 9, 2 / 3])


@given(OPTIONS, st.integers(0, 99), st.sampled_from([0.3, 1.0, 2.5]))
def test_probabilities_sum_to_one(options: list[tuple[int, ...]], seed: int, temperature: float) -> None:
    made, _ = paths(options, END)
    model = TinyModel(seed)
    found = option_logprobs(made, [model.along(path) for path in made], temperature)
    assert sum(map(math.exp, found)) == pytest.approx(1.0)


def test_probabilities_are_those_of_masked_decoding() -> None:
    """Independent check: draw tokens from the masked distribution, as a decoder with a grammar would, and count."""
    model, rng = TinyModel(7), np.random.default_rng(1)
    options = [(1,), (1, 2), (1, 2, 3), (2,), (3, 1), (3, 2)]
    made, _ = paths(options, END)
    counts: Counter[tuple[int, ...]] = Counter()
    for _ in range(20_000):
        path: tuple[int, ...] = ()
        while path not in made:
            legal = sorted({p[len(path)] for p in made if p[: len(path)] == path and len(p) > len(path)})
            weights = np.exp(model.logprobs(path)[legal])
            path += (int(rng.choice(legal, p=weights / weights.sum())),)
        counts[path] += 1
    expected = np.exp(option_logprobs(made, [model.along(p) for p in made]))
    found = np.array([counts[p] for p in made]) / 20_000
    assert np.abs(found - expected).max() < 5 * math.sqrt(0.25 / 20_000)  # five standard errors at most


def test_draws_have_the_probabilities_and_greedy_takes_the_likeliest() -> None:
    logprobs = list(np.log([0.1, 0.6, 0.3]))
    at = (np.arange(1000) + 0.5) / 1000
    assert Counter(drawn(logprobs, 1.0, u) for u in at) == {0: 100, 1: 600, 2: 300}
    assert drawn(logprobs, 0.0, 0.99) == 1


@pytest.mark.parametrize("options", [[], [[]], [[1], []], [[1, 2], [1, 2]], [[1], [1, END]]])
def test_options_must_be_distinct_texts(options: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="option"):
        paths(options, END)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> TorchPolicy:
    return TorchPolicy(LocalModel(make_actor(tmp_path_factory.mktemp("model") / "actor"), dtype=torch.float32))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("options", [["a", "b"], ["go", "go on", "stop", "step 2"], ["é", "è", "e"], ["alone"]])
def test_logprobs_of_a_choice_are_those_of_its_tokens_one_by_one(
    policy: TorchPolicy, options: list[str], temperature: float
) -> None:
    """Each token's score is asked for alone, and renormalised over the tokens that could have stood in its place."""
    chosen = policy.choose(["What next? "], [options], temperature=temperature, seed=1)[0]
    ids = [tuple(policy.encode(text)) for text in options]
    ends = [p + ((0,) if any(q[: len(p)] == p != q for q in ids) else ()) for p in ids]  # 0 is the end of a turn
    assert chosen.tokens == ends[chosen.index]
    for path, found in zip(ends, chosen.logprobs, strict=True):
        expected = 0.0
        for i, token in enumerate(path):
            siblings = sorted({p[i] for p in ends if p[:i] == path[:i]})
            [scores] = zip(*policy.score([((*chosen.prompt, *path[:i]), (s,)) for s in siblings]), strict=True)
            weights = np.exp(np.array(scores) / temperature)
            expected += float(np.log(weights[siblings.index(token)] / weights.sum()))
        assert found == pytest.approx(expected, abs=1e-5)
