"""The real model learns: SmolLM2-135M comes to give the answer that is rewarded, in each framework."""

from __future__ import annotations

import numpy as np
import pytest

from agents.models.smollm2 import model_folder
from training.jax_trainer import JaxTrainer
from training.rollout import Rollout
from training.torch_trainer import TorchTrainer
from training.trainer import Settings, Trainer

pytestmark = [pytest.mark.model, pytest.mark.slow]
LETTERS = " A", " B", " C", " D"
PROMPT = "Pick a letter.\nAnswer:"


@pytest.mark.parametrize("made", [TorchTrainer, JaxTrainer], ids=["torch", "jax"])
def test_the_rewarded_letter_becomes_likely(made: type[Trainer]) -> None:
    """A bandit with four arms: draws from the policy itself, reward 1 for one letter; the rest of the model is as it was."""
    import transformers

    folder = model_folder(print)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    trainer = made(folder, Settings(rank=8, alpha=16, learning_rate=1e-3, dtype="float32"))
    prompt = tuple(tokenizer(PROMPT, add_special_tokens=False).input_ids)
    arms = tuple(tokenizer(letter, add_special_tokens=False).input_ids[0] for letter in LETTERS)
    other = (tuple(tokenizer("The capital of France is").input_ids), tuple(tokenizer(" Paris").input_ids))
    [before] = trainer.logprobs([other])

    def chances() -> np.ndarray:
        logprobs = np.array([row[0] for row in trainer.logprobs([(prompt, (arm,)) for arm in arms])])
        return np.exp(logprobs - np.logaddexp.reduce(logprobs))

    first = chances()
    target = int(first.argsort()[1])  # not a letter that it likes already, and not one that it never draws
    rng = np.random.default_rng(0)
    for _ in range(8):
        now = chances()
        drawn = rng.choice(4, 16, p=now)
        rollouts = [
            Rollout(prompt, (arms[i],), (float(np.log(now[i])),), float(i == target), "letter", allowed=(arms,))
            for i in drawn
        ]
        trainer.step(rollouts)
    last = chances()
    assert last[target] > max(0.5, first[target] + 0.3), (first, last)
    [after] = trainer.logprobs([other])
    assert abs(sum(after) - sum(before)) < 3
