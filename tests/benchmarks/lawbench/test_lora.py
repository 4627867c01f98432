"""The parts of the fine-tuning script that need no training."""

from __future__ import annotations

import torch

from benchmarks.lawbench.lora import answers, batch_of, piece
from benchmarks.lawbench.predictions import parse
from benchmarks.lawbench.sheet import as_lines


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
