"""The moves keep the seed's answer, alone and in any order."""

import itertools
import random

import numpy as np
import pytest
import torch

from agents.edits import EditError
from benchmarks.kernels.problem import mistake
from benchmarks.kernels.trimul.inputs import TriMulShape
from benchmarks.kernels.trimul.score import TASK
from feedback.moves import moves_for

MOVES = {m.name: m for m in moves_for("trimul")}
SHAPES = [TriMulShape(17, 2, 128), TriMulShape(24, 1, 128, "cauchy"), TriMulShape(16, 1, 384, masked=True)]


def applied(names):
    source = TASK.seed().source
    for name in names:
        try:
            source = MOVES[name].edit(source)
        except EditError:
            continue
    return source


def check(source):
    # The seed and the moves are ours, so this text may run here; a candidate's never does.
    space = {}
    exec(compile(source, "ours", "exec"), space)
    for serial, shape in enumerate(SHAPES):
        given = TASK.problem.inputs(shape, np.random.default_rng(serial))
        tensors = {name.removeprefix("weights."): tensor for name, tensor in given.items()}
        before = {name: tensor.clone() for name, tensor in tensors.items()}
        out = torch.full_like(given["x"], torch.nan)
        weights = dict(tensors)
        space["kernel"](weights.pop("x"), weights.pop("mask"), weights, out)
        assert mistake(TASK.problem, {"out": out}, TASK.problem.reference(shape, given)) is None
        assert all(torch.equal(before[name], tensors[name]) for name in tensors)


def test_there_are_moves_enough_and_each_says_why():
    assert len(MOVES) >= 6
    assert all(m.why for m in MOVES.values())


@pytest.mark.parametrize("name", MOVES)
def test_each_move_changes_the_seed_and_keeps_its_answer(name):
    source = applied([name])
    assert source != TASK.seed().source
    check(source)


@pytest.mark.parametrize("pair", itertools.permutations(MOVES, 2), ids="-".join)
def test_every_ordered_pair_parses(pair):
    compile(applied(pair), "ours", "exec")


@pytest.mark.parametrize("seed", range(12))
def test_moves_compose_in_any_order(seed):
    order = list(MOVES)
    random.Random(seed).shuffle(order)
    check(applied(order))


@pytest.mark.parametrize("name", MOVES)
def test_a_move_made_twice_is_a_move_made_once(name):
    assert applied([name, name]) == applied([name])
