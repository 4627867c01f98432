"""A tiny Llama model with random weights, for what is only about numbers; the real one where learning is the point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from training.rollout import Rollout

VOCABULARY, LONGEST = 61, 64


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, grouped-query attention, tied embeddings: SmolLM2's architecture at a thousandth of its size."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


def make_model(folder: Path, *, width: int = 32) -> Path:
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=LONGEST, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)  # the usual start is so flat that every word is about as likely
    model.save_pretrained(folder)
    words = {f"w{i}": i for i in range(VOCABULARY)}
    Tokenizer(WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def draw() -> Callable[..., list[Rollout]]:
    return drawn


def drawn(
    seed: int,
    *,
    count: int = 8,
    vocabulary: int = VOCABULARY,
    longest: int = 20,
    groups: int = 2,
    choices: bool = False,
) -> list[Rollout]:
    """Random rollouts of different lengths, some tokens from a tool, rewards that differ; with `choices` some constrained."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        prompt, completion = (tuple(map(int, rng.integers(0, vocabulary, rng.integers(2, longest)))) for _ in range(2))
        allowed = None
        if choices and i % 2:
            among = [tuple(map(int, rng.permutation(vocabulary)[: rng.integers(1, 6)])) for _ in completion]
            allowed = tuple(tuple(sorted({*ids, token})) for ids, token in zip(among, completion, strict=True))
        mask = tuple(bool(m) for m in rng.random(len(completion)) < 0.8)
        logprobs = tuple(float(-rng.exponential(2.0)) for _ in completion)
        made.append(
            Rollout(prompt, completion, logprobs, float(rng.normal()), f"g{i % groups}", (True, *mask[1:]), allowed)
        )
    return made
