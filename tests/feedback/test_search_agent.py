"""The offline agent on the real libraries of moves: what it proposes, in what order, and when it has nothing more."""

from __future__ import annotations

import ast
import math
from collections import Counter
from pathlib import Path

import pytest

from agents.edits import EditError
from benchmarks.registry import task, task_names
from benchmarks.task import Candidate, Score, Task, Verdict
from feedback.agent import Answer, Asked
from feedback.archive import Archive, Try
from feedback.briefing import brief
from feedback.budget import Spent
from feedback.decision import Lever, TrainingWish, applied
from feedback.moves import moves_for
from feedback.proposing import new_row
from feedback.search_agent import Search, edit_of, joined_moves

WITH_MOVES = [name for name in task_names() if moves_for(name)]
ROOMY = Spent(1000, 1e6, 1000, 1.0)


@pytest.fixture
def archive(tmp_path: Path):
    made = Archive(tmp_path)
    yield made
    made.close()


def seeded(archive: Archive, known: Task) -> Try:
    """The archive with the seed program in it, scored."""
    seed = known.seed()
    archive.propose([(new_row(known, seed, 0, 0, None, "seed", ()), seed)])
    return scored(archive, archive.tries(known.name)[0], 3.0)


def scored(archive: Archive, row: Try, value: float, gain: float | None = None) -> Try:
    row.score = Score(verdict=Verdict.OK, value=value, interval=(value, value)).model_dump(mode="json")
    row.gain, row.gain_low, row.gain_high = gain, gain and gain / 2, gain and gain * 2
    archive.save(row)
    return row


def ask(agent: Search, archive: Archive, best: Try, *, width: int = 4, number: int = 1, adapter: str | None = None,
        levers: tuple[Lever, ...] = (Lever.HARNESS,)) -> Answer:  # fmt: skip
    told = brief(agent.task, archive, best, left=ROOMY, weights={}, trace=archive.folder / "none")
    return agent.decide(Asked(told, levers, width, (0, number), best, adapter, archive))


def played(agent: Search, archive: Archive, best: Try, number: int, width: int = 4) -> list[Try]:
    """One generation's tries, put into the archive."""
    answer = ask(agent, archive, best, width=width, number=number)
    library = {m.name: m for m in moves_for(agent.task.name)}
    rows = []
    for i, wanted in enumerate(answer.decision.edits if answer.decision else ()):
        on = (
            best if wanted.parent is None else next(t for t in archive.tries(agent.task.name) if t.sha == wanted.parent)
        )
        source = applied(wanted.edit, archive.candidate(on).source, dict(library))
        names = getattr(wanted.edit, "names", ("setting",))
        made = Candidate(source=source)
        rows.append((new_row(agent.task, made, number, i, on.id, "harness", names), made))
    archive.propose(rows)
    return archive.tries(agent.task.name, number)


def test_every_domain_has_a_library() -> None:
    assert {"lawbench", "denoising", "trimul"} <= set(WITH_MOVES)


@pytest.mark.parametrize("name", WITH_MOVES)
def test_every_move_is_documented_and_gives_a_program_that_parses(name: str) -> None:
    seed, library = task(name).seed().source, moves_for(name)
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


@pytest.mark.parametrize("name", ["lawbench", "denoising", "trimul"])
def test_no_program_is_proposed_twice(name: str, archive: Archive) -> None:
    agent = Search(task(name))
    best = seeded(archive, agent.task)
    for number in range(1, 5):
        for row in played(agent, archive, best, number):
            scored(archive, row, 3.1)
    shas = [t.sha for t in archive.tries(name)]
    assert 12 < len(shas) == len(set(shas))


def test_without_a_guide_moves_come_first_and_in_the_order_of_the_library(archive: Archive) -> None:
    agent = Search(task("denoising"))
    answer = ask(agent, archive, seeded(archive, agent.task), width=2)
    assert answer.decision is not None
    first, second = (e.edit.names for e in answer.decision.edits)  # type: ignore[union-attr]
    order = [m.name for m in moves_for("denoising")]
    assert order.index(first[0]) < order.index(second[0])


def test_programs_that_gained_but_lost_to_another_are_joined(archive: Archive) -> None:
    agent = Search(task("denoising"))
    seed = seeded(archive, agent.task)
    a, b, c, _ = played(agent, archive, seed, 1)
    best = scored(archive, a, 2.0, 0.3)
    scored(archive, b, 2.2, 0.2), scored(archive, c, 2.3, 0.1)
    library = {m.name: m for m in moves_for("denoising")}
    assert joined_moves(archive.tries("denoising"), best, library) == [*b.moves, *c.moves]
    answer = ask(agent, archive, best, number=2)
    assert answer.decision is not None
    assert answer.decision.edits[0].edit.names == (*b.moves, *c.moves)  # type: ignore[union-attr]


def test_one_of_three_tries_is_made_on_another_member(archive: Archive) -> None:
    agent = Search(task("denoising"))
    seed = seeded(archive, agent.task)
    rows = played(agent, archive, seed, 1)
    best = scored(archive, rows[0], 2.0, 0.3)
    for row in rows[1:]:
        scored(archive, row, 2.9)
    answer = ask(agent, archive, best, width=3, number=2)
    assert answer.decision is not None
    elsewhere = [e.parent for e in answer.decision.edits if e.parent is not None]
    assert len(elsewhere) == 1
    assert elsewhere[0] != best.sha
    narrow = ask(agent, archive, best, width=2, number=2)
    assert narrow.decision is not None and all(e.parent is None for e in narrow.decision.edits)


def test_a_guide_decides_the_order_by_its_probabilities(archive: Archive) -> None:
    seen: list[str | None] = []

    def guide(adapter: str | None, source: str, done: object) -> dict[str, float]:
        seen.append(adapter)
        return {"smooth_low_rank": math.log(0.7), "sharpen_contrast": math.log(0.3)}

    agent = Search(task("denoising"), guide=guide)
    best = seeded(archive, agent.task)
    first: Counter[str] = Counter()
    for number in range(300):
        answer = ask(agent, archive, best, width=1, number=number, adapter="a" * 64)
        assert answer.decision is not None
        first["+".join(answer.decision.edits[0].edit.names)] += 1  # type: ignore[union-attr]
    assert set(seen) == {"a" * 64}
    assert set(first) == {"smooth_low_rank", "sharpen_contrast"}
    assert 0.6 < first["smooth_low_rank"] / 300 < 0.8  # 0.7, three standard deviations either way


def test_the_same_seed_proposes_the_same(archive: Archive) -> None:
    agent = Search(task("denoising"))
    best = seeded(archive, agent.task)
    assert ask(agent, archive, best).decision == ask(agent, archive, best).decision


def test_the_weights_lever_gets_the_wish_and_a_free_choice_is_the_bandits(archive: Archive) -> None:
    wish = TrainingWish(rounds=3)
    agent = Search(task("denoising"), wish=wish)
    best = seeded(archive, agent.task)
    answer = ask(agent, archive, best, levers=(Lever.WEIGHTS,))
    assert answer.decision is not None and answer.decision.training == wish
    free = ask(agent, archive, best, levers=(Lever.HARNESS, Lever.WEIGHTS))
    assert free.decision is not None and free.decision.reason


def test_with_everything_tried_it_says_so(archive: Archive) -> None:
    agent = Search(task("denoising"))
    best = seeded(archive, agent.task)
    for number in range(1, 200):
        rows = played(agent, archive, best, number, width=2)  # two: never on another member
        if not rows:
            break
        for row in rows:
            scored(archive, row, 3.1)
    answer = ask(agent, archive, best, width=2, number=200)
    assert answer.decision is None and answer.over
    assert "every option was tried" in answer.why


def test_an_option_of_the_menu_is_an_edit() -> None:
    library = {m.name: m for m in moves_for("denoising")}
    name = next(iter(library))
    assert edit_of(name, library).names == (name,)  # type: ignore[union-attr]
    for text, value in (("RANK = 5", 5), ("POWER = 0.5", 0.5), ("RIDGE = 1e-05", 1e-05)):
        found = edit_of(text, library)
        assert (found.name, found.value) == (text.partition(" ")[0], value)  # type: ignore[union-attr]


def test_a_task_without_moves_or_constants_has_nothing_to_propose(archive: Archive) -> None:
    known = task("denoising")
    bare = Candidate(source="def denoise(counts):\n    return counts\n")
    archive.propose([(new_row(known, bare, 0, 0, None, "seed", ()), bare)])
    best = scored(archive, archive.tries("denoising")[0], 3.0)
    answer = ask(Search(known), archive, best, width=2)
    assert answer.decision is None or all(e.edit.kind == "moves" for e in answer.decision.edits)
