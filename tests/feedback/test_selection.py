"""Choosing a parent: better ones, stranger ones and less visited ones are likelier."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.registry import task
from benchmarks.task import Score, Verdict
from feedback.archive import Try
from feedback.selection import MEMBERS, chances, distance, parent

DENOISING, LAW = task("denoising"), task("lawbench")


def member(id_: int, value: float | None, parent_id: int | None = None) -> Try:
    verdict = Verdict.OK if value is not None else Verdict.CRASH
    score = Score(verdict=verdict, value=value, interval=None).model_dump(mode="json")
    return Try(id=id_, task="t", generation=id_, number=0, sha=f"{id_:064x}", parent=parent_id, moves=[], score=score)


def same(tried: Try) -> str:
    return "x = 1\n"


values = st.lists(st.floats(0, 10), min_size=1, max_size=12)


@given(values, st.data())
def test_chances_are_chances(scores: list[float], data: st.DataObject) -> None:
    members = [member(i, v) for i, v in enumerate(scores)]
    sources = data.draw(st.lists(st.text("ab\n"), min_size=len(scores), max_size=len(scores)))
    found = chances(DENOISING, members, members, lambda t: sources[t.id])
    assert sum(found) == pytest.approx(1.0)
    assert all(p > 0 for p in found)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=12, unique=True))
def test_better_is_likelier_in_the_metrics_direction(scores: list[float]) -> None:
    members = [member(i, v) for i, v in enumerate(scores)]
    for known, sign in ((DENOISING, 1), (LAW, -1)):
        found = chances(known, members, members, same)
        order = sorted(range(len(scores)), key=lambda i: sign * scores[i])
        assert [found[i] for i in order] == sorted(found, reverse=True)


@given(st.integers(0, 10))
def test_each_child_makes_less_likely(children: int) -> None:
    members = [member(0, 1.0), member(1, 2.0)]
    offspring = [member(10 + i, 3.0, parent_id=0) for i in range(children + 1)]
    fewer, more = (chances(DENOISING, members, members + offspring[:n], same)[0] for n in (children, children + 1))
    assert more < fewer


def test_what_is_unlike_all_others_is_likelier() -> None:
    members = [member(i, 1.0) for i in range(3)]
    sources = ["a\nb\nc\n", "a\nb\nd\n", "w\nx\ny\nz\n"]
    found = chances(DENOISING, members, members, lambda t: sources[t.id])
    ranks = [1.0, 1 / 2, 1 / 3]  # equal scores keep their order
    novelty = [p / r for p, r in zip(found, ranks, strict=True)]
    assert novelty[2] > novelty[0] == pytest.approx(novelty[1])


def test_distance() -> None:
    assert distance("a\nb\n", "a\nb\n") == 0.0
    assert distance("a\nb\n", "c\nd\n") == 1.0
    assert distance("a\nb\n", "a\nc\n") == pytest.approx(0.5)


def test_a_parent_is_ok_and_not_the_best_and_the_same_for_a_seed() -> None:
    best, good, failed = member(0, 1.0), member(1, 2.0), member(2, None)
    history = [best, good, failed, *(member(10 + i, 5.0 + i) for i in range(2 * MEMBERS))]
    drawn = [parent(DENOISING, best, history, same, (0, n)) for n in range(300)]
    ids = {t.id for t in drawn if t is not None}
    assert 1 in ids and not ids & {0, 2}
    assert len(ids) <= MEMBERS and max(ids) < 10 + MEMBERS, "only the best are considered"
    assert [t and t.id for t in drawn] == [
        t and t.id for t in (parent(DENOISING, best, history, same, (0, n)) for n in range(300))
    ]
    assert parent(DENOISING, best, [best, failed], same, (0,)) is None
