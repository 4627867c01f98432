"""Every sequence of denoising moves gives a program that runs and answers with a valid prediction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from benchmarks.denoising.score import TASK
from feedback.moves import moves_for

MOVES = {m.name: m for m in moves_for("denoising")}


def toy_counts() -> sparse.csr_matrix:
    """40 cells of two kinds by 30 genes; small, but every step has something to do."""
    rng = np.random.default_rng(3)
    rates = rng.gamma(1.0, 2.0, size=(2, 30))
    return sparse.csr_matrix(rng.poisson(rates[np.arange(40) % 2]).astype(np.float32))


def run(source: str) -> np.ndarray:
    """Our own moves on our own seed: the one program that may be executed outside a sandbox."""
    space: dict = {"__name__": "candidate"}
    exec(compile(source, "candidate.py", "exec"), space)
    return np.asarray(space["denoise"](toy_counts()))


def test_the_library_is_large_enough_to_search():
    assert len(MOVES) >= 7


def test_the_seed_changes_nothing():
    assert (run(TASK.seed().source) == toy_counts().toarray()).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=6))
def test_moves_compose_in_any_order(names):
    source = TASK.seed().source
    for name in names:
        source = MOVES[name].edit(source)
    answer = run(source)
    assert answer.shape == (40, 30)
    assert np.isfinite(answer).all()
    assert answer.min() >= 0
    assert answer.max() <= toy_counts().sum()


@pytest.mark.parametrize("name", sorted(MOVES))
def test_a_move_that_sets_a_step_settles(name):
    """Twice the same replacement is the same program; only moves that turn a number go on turning it."""
    once = MOVES[name].edit(TASK.seed().source)
    if name.startswith(("smooth", "choose", "shrink", "stabilise_log")):
        assert MOVES[name].edit(once) == once
