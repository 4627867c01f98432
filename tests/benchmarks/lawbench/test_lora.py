"""The fine-tuned classifier: its windows, its head, its state; and what of the language model it trains."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.models.smollm2 import model_folder
from benchmarks.lawbench.lora import (
    BATCH,
    LAYERS,
    Reader,
    answers,
    batch_of,
    drawn_window,
    features,
    order_of,
    probabilities,
    reader,
    restore,
    train,
    windows,
)
from benchmarks.lawbench.predictions import parse
from benchmarks.lawbench.sheet import as_lines
from sandboxes.base import UserError

ENOUGH = 60
"""Steps of training in which the small model learns something."""


def test_a_short_text_is_one_window_and_one_window_is_the_middle() -> None:
    assert windows([1, 2], 4) == [[1, 2]]
    assert windows(range(10), 4, 1) == [[3, 4, 5, 6]]


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 6))
def test_windows_lie_in_the_text_from_its_beginning_to_its_end(size: int, length: int, most: int) -> None:
    made = windows(range(size), length, most)
    assert 1 <= len(made) <= most
    assert all(window == list(range(window[0], window[0] + min(size, length))) for window in made)
    if most > 1:
        assert made[0][0] == 0
        assert made[-1][-1] == size - 1
    if size <= length * most and most > 1:
        assert {token for window in made for token in window} == set(range(size))


@given(st.integers(1, 60), st.integers(1, 20), st.floats(0, 1, exclude_max=True))
def test_a_drawn_window_is_whole(size: int, length: int, draw: float) -> None:
    window = drawn_window(range(size), length, draw)
    assert window == list(range(window[0], window[0] + min(size, length)))


def test_every_window_is_drawn() -> None:
    drawn = {tuple(drawn_window(range(6), 4, draw)) for draw in np.linspace(0, 0.999, 50)}
    assert drawn == {(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)}


def test_a_batch_is_padded_on_the_right() -> None:
    batch = batch_of([[1, 2, 3], [4]])
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_its_answers_are_a_submission() -> None:
    labels = [f"charge {i}" for i in range(8)]
    likely = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).softmax(-1)
    told = dict(zip("abc", answers(likely, labels), strict=True))
    assert parse(as_lines(told), "abc", labels) == told
    assert [answer.first for answer in told.values()] == [labels[k] for k in likely.argmax(-1)]


class Words(torch.nn.Module):
    """What a language model says of each token, by the token alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(8, 4)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        assert not use_cache
        return SimpleNamespace(last_hidden_state=self.table(input_ids))


def small() -> Reader:
    return Reader(Words(), 4, 3)


def test_padding_is_no_part_of_the_mean() -> None:
    model = small()
    alone, padded = features(model, [[1, 2]]), features(model, [[1, 2], [3, 4, 5, 6]])
    assert alone[0].tolist() == pytest.approx(padded[0].tolist())
    assert alone[0].tolist() == pytest.approx(model.base.table.weight[1:3].mean(0).tolist())


def test_the_first_head_is_a_logistic_regression_of_standardised_means() -> None:
    model, rows, targets = small(), [[i % 3, i % 3] for i in range(30)], [i % 3 for i in range(30)]
    model.fit_head(features(model, rows), targets)
    found = probabilities(model, rows, 2)
    assert found.sum(1).tolist() == pytest.approx([1.0] * 30, abs=1e-5)
    assert found.argmax(1).tolist() == targets
    standard = (features(model, rows) - model.middle) / model.scale
    assert standard.mean(0).tolist() == pytest.approx([0.0] * 4, abs=1e-5)
    assert standard.std(0).tolist() == pytest.approx([1.0] * 4, abs=1e-5)


def test_probabilities_of_a_text_are_the_mean_over_its_windows() -> None:
    model = small()
    whole = probabilities(model, [[1, 2, 3, 4], [5]], 2)
    parts = probabilities(model, [[1, 2], [3, 4]], 2)
    assert whole[0].tolist() == pytest.approx(parts.mean(0).tolist())
    assert len(whole) == 2


def test_training_goes_on_from_its_state(tmp_path: Path) -> None:
    texts, targets, state = [[i % 3, 7, i % 5] for i in range(64)], [i % 3 for i in range(64)], tmp_path / "state.pt"
    first = train(small(), texts, targets, 2, seconds=0.3, state=state)
    assert first.seen == BATCH * len(first.losses) > 0
    model = small()
    seconds = 0.6
    while len((more := train(model, texts, targets, 2, seconds=seconds, state=state)).losses) < ENOUGH:
        seconds += 0.3  # A busy machine makes few steps in this time, and they go on where the last call ended.
    assert more.losses[: len(first.losses)] == first.losses
    assert more.seen > first.seen
    assert np.mean(more.losses[-20:]) < np.mean(more.losses[:20])
    other = small()
    optimiser = torch.optim.AdamW(p for p in other.parameters() if p.requires_grad)
    assert restore(state, other.kept(), optimiser) == more
    assert all(torch.equal(a, b) for a, b in zip(other.kept(), model.kept(), strict=True))


def test_another_file_is_no_state(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"something else")
    weights = small().kept()
    with pytest.raises(UserError, match="delete it to begin anew"):
        restore(tmp_path / "state.pt", weights, torch.optim.AdamW(weights[:1]))


def test_each_epoch_has_all_cases_in_an_order_of_its_own_and_other_windows() -> None:
    (order, draws), (again, same), (other, others) = order_of(0, 50), order_of(0, 50), order_of(1, 50)
    assert sorted(order) == list(range(50))
    assert order.tolist() == again.tolist() != other.tolist()
    assert draws.tolist() == same.tolist() != others.tolist()
    assert 0 <= draws.min() <= draws.max() < 1


@pytest.mark.model
def test_only_adapters_of_the_first_layers_and_the_head_are_trained() -> None:
    tokenizer, model = reader(model_folder(print), 5)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name for name in trained if "lora_" not in name} == {"head.weight", "head.bias"}
    layers = {int(re.search(r"layers[.](\d+)[.]", name)[1]) for name in trained if "lora_" in name}  # type: ignore[index]
    assert layers == set(range(LAYERS))
    found = probabilities(model, [tokenizer("盗窃", add_special_tokens=False).input_ids], 16)
    assert found.shape == (1, 5)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
