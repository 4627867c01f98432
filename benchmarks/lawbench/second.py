"""The search cases in other words: what a program has learned of charges outlives this, what it has learned of cases less so.

Names and figures are masked, which changes no charge. The order of sentences stays. Masks and cases are drawn from a salt and
not from the secret seed, so that scores of one program, or of two, are comparable across scorings like those of the task.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from benchmarks.lawbench.data import Case
from benchmarks.lawbench.multilabel.data import Question

C = TypeVar("C", Case, Question)
SALT = "lawbench second evaluator 1"
SHARE = 0.7
"""Of the search cases that are kept."""
FIGURE = re.compile(r"[0-9０-９]+(?:[.,．][0-9０-９]+)*|[一二三四五六七八九十百千万两]{2,}")
NAME = re.compile(r"[\u4e00-\u9fff][0-9]?某{1,2}[甲乙丙丁戊己庚辛]?")
"""A surname with the court's own mask behind it."""
"""Digits, and numerals of two or more signs: single ones stand in too many other words."""
FIGURES = ("若干", "数", "□")
NAMES = ("其", "某人", "□某")


def masked(text: str, rng: random.Random) -> str:
    """The text with masks for names and figures, one kind of each for a whole text."""
    name, figure = rng.choice(NAMES), rng.choice(FIGURES)
    return FIGURE.sub(figure, NAME.sub(name, text))


def in_other_words(cases: Sequence[C]) -> tuple[C, ...]:
    """Seven in ten of the cases, masked, under keys of their own."""
    kept = sorted(cases, key=lambda case: _salted(case.key))[: round(SHARE * len(cases))]
    return tuple(
        replace(case, key=f"second/{case.key}", text=masked(case.text, random.Random(_salted(case.key))))
        for case in kept
    )


def _salted(key: str) -> str:
    return hashlib.sha256(f"{SALT}:{key}".encode()).hexdigest()
