"""A prompt that answers share is run once, and nothing but the time it takes is different."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import VOCABULARY
from training.objectives import objective
from training.rollout import Batch, Rollout, make_batch, micro_batches, shared_prefix
from training.torch_trainer import LEAST_SHARED, TorchTrainer
from training.trainer import Settings

MEAN = objective("mean_baseline")


def rollouts(seed: int, prompts: tuple[int, ...] = (40, 36), answers: int = 3) -> list[Rollout]:
    """Some answers of different lengths to each of a few prompts."""
    rng = np.random.default_rng(seed)
    made = []
    for group, length in enumerate(prompts):
        prompt = tuple(map(int, rng.integers(0, VOCABULARY, length)))
        for _ in range(answers):
            said = tuple(map(int, rng.integers(0, VOCABULARY, rng.integers(1, 8))))
            made.append(Rollout(prompt, said, (-4.0,) * len(said), float(rng.normal()), str(group)))
    return made


def batch_of(made: list[Rollout]) -> Batch:
    return make_batch(made, MEAN, longest_answer=8)


def test_the_shared_beginning_is_the_prompt_and_never_a_trained_token() -> None:
    batch = batch_of(rollouts(0, prompts=(40,)))
    shared = shared_prefix(batch, range(3))
    assert shared == 39  # the prompt's last token predicts the first trained one, so its state is wanted for each row
    assert not (batch.weights[:, :shared] > 0).any()


def test_rows_with_nothing_in_common_share_nothing() -> None:
    made = [Rollout((i + 1, 5, 6), (7,), (-1.0,), float(i), "g") for i in range(2)]
    assert shared_prefix(batch_of(made), range(2)) == 0


@given(st.integers(0, 10_000), st.integers(1, 400), st.booleans())
def test_every_row_is_in_one_micro_batch_and_none_is_over_the_budget(seed: int, budget: int, shared: bool) -> None:
    batch = batch_of(rollouts(seed, prompts=(40, 36, 40), answers=4))
    found = list(micro_batches(batch, budget, shared=shared))
    assert sorted(row for rows in found for row in rows) == list(range(len(batch.rows)))
    for rows in found:
        common = shared_prefix(batch, rows) if shared else 0
        cost = common + len(rows) * (int(batch.lengths[rows].max()) - common)
        assert cost <= budget or len(rows) == 1


def test_answers_to_one_prompt_come_together() -> None:
    batch = batch_of(rollouts(1))
    found = list(micro_batches(batch, 80, shared=True))
    assert [{batch.tokens[row, 0] for row in rows} for rows in found] == [{batch.tokens[r[0], 0]} for r in found]
    assert len(found) < len(list(micro_batches(batch, 80)))


@pytest.mark.parametrize("seed", [0, 1])
def test_loss_and_gradients_are_the_same(tiny: Path, seed: int) -> None:
    found = {}
    for shares in (True, False):
        trainer = TorchTrainer(tiny, Settings(rank=4, alpha=8, dtype="float32", clip_norm=1e9), device="cpu")
        trainer.shares_prompts = shares
        grown: dict[str, np.ndarray] = {}
        keep = trainer._update
        trainer._update = lambda t=trainer, k=keep, g=grown: (g.update(t.gradients()), k())  # type: ignore[method-assign,misc]
        stats = trainer.step(rollouts(seed), MEAN)
        found[shares] = stats, grown
    (ours, left), (plain, right) = found[True], found[False]
    assert LEAST_SHARED < 36
    assert ours.loss == pytest.approx(plain.loss, abs=1e-6)
    assert ours.entropy == pytest.approx(plain.entropy, abs=1e-5)
    for name, gradient in right.items():
        np.testing.assert_allclose(left[name], gradient, atol=1e-6)


def test_checkpointing_does_without_it(tiny: Path) -> None:
    assert not TorchTrainer(tiny, Settings(rank=4, gradient_checkpointing=True), device="cpu").shares_prompts
