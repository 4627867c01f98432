"""Moves on the law harness compose in any order and leave a program that still parses and defines predict()."""

from __future__ import annotations

import ast
from itertools import permutations

import pytest

from agents.edits import EditError, has_constant, has_function
from benchmarks.lawbench.score import TASK
from feedback.moves import Move, moves_for

MOVES = {move.name: move for move in moves_for("lawbench")}
SEED = TASK.seed().source


def after(*names: str) -> str:
    source = SEED
    for name in names:
        source = MOVES[name].edit(source)
    return source


def test_there_are_several_and_each_says_why() -> None:
    assert len(MOVES) >= 6
    assert all(move.why for move in MOVES.values())


@pytest.mark.parametrize("order", list(permutations(MOVES, 2)), ids="+".join)
def test_any_two_compose_or_say_that_they_do_not_fit(order: tuple[str, str]) -> None:
    source = SEED
    for name in order:
        try:
            source = MOVES[name].edit(source)
        except EditError:
            continue
        names = [n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
        assert len(names) == len(set(names))
        assert has_function(source, "predict")


@pytest.mark.parametrize("move", MOVES.values(), ids=lambda move: move.name)
def test_twice_is_still_a_program(move: Move) -> None:
    source = after("rank_with_a_linear_classifier")
    for _ in range(2):
        try:
            source = move.edit(source)
        except EditError:
            continue
    ast.parse(source)


def test_classifier_after_retrieval_keeps_one_set_of_features() -> None:
    source = after("retrieve_similar_cases", "rank_with_a_linear_classifier")
    assert source.count("def features") == source.count("def weigh") == source.count("NGRAMS = ") == 1
    assert has_constant(source, "PENALTY")
    assert max(map(len, source.splitlines())) <= 120


def test_details_need_the_classifier_first() -> None:
    with pytest.raises(EditError):
        MOVES["regularise_less"].edit(SEED)


def test_the_seed_is_weaker_than_it_looks() -> None:
    assert "sklearn" not in SEED
    assert "LinearSVC" in after("rank_with_a_linear_classifier")
