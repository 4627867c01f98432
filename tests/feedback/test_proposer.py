"""The baseline proposer on the real libraries of moves."""

from __future__ import annotations

import ast

import pytest

from agents.edits import EditError
from benchmarks.registry import task, task_names
from benchmarks.task import Candidate
from feedback.archive import Try
from feedback.moves import moves_for
from feedback.proposer import MoveSearch

WITH_MOVES = [name for name in task_names() if MoveSearch().propose(name, task(name).seed(), [], 1)]
"""The search over moves works on tasks that have a library of them; other proposers need none."""


def test_every_domain_has_a_library() -> None:
    assert {"lawbench", "denoising", "trimul"} <= set(WITH_MOVES)


def tried(names: list[str], sha: str, generation: int, gain: float, low: float) -> Try:
    return Try(
        task="t", generation=generation, number=0, sha=sha, moves=names, gain=gain, gain_low=low, lever="harness"
    )


@pytest.mark.parametrize("name", WITH_MOVES)
def test_every_move_is_documented_and_gives_a_program_that_parses(name: str) -> None:
    seed = task(name).seed().source
    library = moves_for(name)
    assert len(library) >= 6
    for first in library:
        assert len(first.why) > 20
        for second in [None, *library]:
            source = seed
            for move in [first, second] if second else [first]:
                try:
                    source = move.edit(source)
                except EditError:
                    continue
            ast.parse(source)


@pytest.mark.parametrize("name", WITH_MOVES)
def test_proposals_are_new_and_distinct(name: str) -> None:
    seed = task(name).seed()
    first = MoveSearch().propose(name, seed, [], 4)
    assert len(first) == 4
    history = [tried(list(p.moves), p.candidate.sha, 1, 0.0, -1.0) for p in first]
    second = MoveSearch().propose(name, seed, history, 4)
    shas = [p.candidate.sha for p in first + second] + [seed.sha]
    assert len(shas) == len(set(shas))


def test_gainers_that_lost_to_another_are_joined() -> None:
    seed = task("denoising").seed()
    a, b, c = MoveSearch().propose("denoising", seed, [], 3)
    history = [tried(list(p.moves), p.candidate.sha, 1, g, g / 2) for p, g in ((a, 0.3), (b, 0.2), (c, 0.1))]
    joined = MoveSearch().propose("denoising", a.candidate, history, 1)[0]
    assert joined.moves == (*b.moves, *c.moves)
    assert joined.candidate.source != a.candidate.source


def test_an_unknown_task_has_no_moves_and_no_proposals() -> None:
    assert moves_for("nothing") == []
    assert MoveSearch().propose("nothing", Candidate(source="x = 1"), [], 4) == []
