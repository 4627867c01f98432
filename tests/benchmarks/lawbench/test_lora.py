"""The parts of the fine-tuning script that need no language model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.lawbench.lora import BATCH, answers, batch_of, order_of, piece, restore, train
from benchmarks.lawbench.predictions import parse
from benchmarks.lawbench.sheet import as_lines
from sandboxes.base import UserError


def test_a_piece_is_the_middle_and_a_short_text_is_whole() -> None:
    assert piece(range(10), 4) == [3, 4, 5, 6]
    assert piece([1, 2], 4) == [1, 2]


def test_a_batch_is_padded_on_the_right() -> None:
    batch = batch_of([[1, 2, 3], [4]], pad=0)
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_its_answers_are_a_submission() -> None:
    labels = [f"charge {i}" for i in range(8)]
    given = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).softmax(-1)
    told = dict(zip("abc", answers(given, labels), strict=True))
    assert parse(as_lines(told), "abc", labels) == told
    assert [answer.first for answer in told.values()] == [labels[k] for k in given.argmax(-1)]


class Linear(torch.nn.Module):
    """A classifier of the first token, with the interface of a language model."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Embedding(8, 4)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.table(input_ids[:, 0]))


def test_training_goes_on_from_its_state(tmp_path: Path) -> None:
    rows, targets, state = [[i % 4] for i in range(64)], [i % 4 for i in range(64)], tmp_path / "state.pt"
    first = train(Linear(), rows, targets, 7, seconds=0.2, state=state)
    assert first.seen == BATCH * len(first.losses) > 0
    model = Linear()
    more = train(model, rows, targets, 7, seconds=0.4, state=state)
    assert more.losses[: len(first.losses)] == first.losses
    assert more.seen > first.seen
    assert np.mean(more.losses[-4:]) < np.mean(first.losses[:4])
    weights = list(model.parameters())
    again = restore(state, weights, torch.optim.AdamW(weights))
    assert again == more


def test_another_file_is_no_state(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"something else")
    weights = list(Linear().parameters())
    with pytest.raises(UserError, match="delete it to begin anew"):
        restore(tmp_path / "state.pt", weights, torch.optim.AdamW(weights))


def test_each_epoch_has_all_cases_in_an_order_of_its_own() -> None:
    assert sorted(order_of(0, 50)) == list(range(50))
    assert order_of(1, 50).tolist() == order_of(1, 50).tolist() != order_of(0, 50).tolist()
