"""The second evaluator: another measurement of the same thing, that agrees on what is clearly better."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.models.scripted import ScriptedGate
from benchmarks.denoising.score import TASK as DENOISING
from benchmarks.evaluator import Evaluator
from benchmarks.kernels.second import between
from benchmarks.lawbench import data
from benchmarks.lawbench.score import TASK as LAW
from benchmarks.lawbench.second import in_other_words
from benchmarks.registry import ROOT, task
from benchmarks.task import Bench, Score, Split
from sandboxes.base import SandboxFactory

KERNELS = sorted(p.parent.name for p in (ROOT / "kernels").glob("*/score.py"))


@pytest.fixture(scope="module")
def process(sandboxes: SandboxFactory) -> Iterator[Evaluator]:
    with Evaluator(sandboxes.name, model=ScriptedGate()) as found:  # No program here asks it anything.
        yield found


@pytest.fixture(scope="module", autouse=True)
def at_hand() -> None:
    for found in (LAW, DENOISING):
        found.fetch(lambda message: None)


def both(process: Evaluator, name: str, worse: str | None, better: str) -> tuple[list[Score], list[Score]]:
    """Scores of the worse and the better program with the task's own evaluator, and with its second one."""
    known = task(name)
    programs = [known.seed() if worse is None else known.baseline(worse), known.baseline(better)]
    first = process.evaluate(name, programs, Split.SEARCH, quick=True)
    other = process.evaluate(name, programs, Split.SEARCH, quick=True, second=True)
    for score in (*first, *other):
        assert score.ok, score.reason
    return first, other


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("name", "worse", "better"),
    [
        ("lawbench", "majority", "knn"),
        ("denoising", None, "svd"),
        pytest.param("topk_gating", None, "numba_", marks=pytest.mark.slow),
    ],
)
def test_it_gives_another_number_and_the_same_order(
    name: str, worse: str | None, better: str, process: Evaluator
) -> None:
    first, other = both(process, name, worse, better)
    metric = task(name).metric
    for bad, good in (first, other):
        assert metric.better(good.value or 0.0, bad.value or 0.0)
    assert first[1].value != other[1].value
    assert first[1].units.keys() != other[1].units.keys() or name == "denoising"
    assert first[1].seed_commitment != other[1].seed_commitment


def test_a_task_and_its_second_are_two_objects() -> None:
    """Asking for the second changes nothing about the first, which the gate uses."""
    for known in (LAW, DENOISING, task("softmax"), task("lawbench-published"), task("denoising-facs")):
        before = dict(vars(known))
        second = known.second()
        assert second is not None and second is not known
        assert type(second) is type(known) and second.metric == known.metric and second.limits == known.limits
        assert dict(vars(known)) == before
    assert (DENOISING.train_share, LAW.other_words) == (0.9, False)


def test_twice_as_many_molecules_are_held_out(bench: Bench) -> None:
    from benchmarks.denoising.trial import trials

    cells = DENOISING.cells(Split.SEARCH)
    for share in (DENOISING.train_share, DENOISING.second().train_share):  # type: ignore[attr-defined]
        [trial] = trials(cells, 5, 1, share)
        shown, hidden = trial.split.train.sum(), trial.split.test.sum()
        assert shown / (shown + hidden) == pytest.approx(share, abs=0.005)
    assert DENOISING.second().train_share == 0.8  # type: ignore[attr-defined]


def test_cases_in_other_words_keep_charge_and_order_and_lose_figures_and_names() -> None:
    cases = data.load().search
    found = in_other_words(cases)
    assert len(found) == round(0.7 * len(cases))
    assert found == in_other_words(list(reversed(cases)))
    by_key = {case.key: case for case in cases}
    changed = 0
    for case in found:
        old = by_key[case.key.removeprefix("second/")]
        assert case.charge == old.charge
        assert not re.search(r"[0-9０-９]", case.text)
        changed += case.text != old.text
        # Sentences stand in the same order: their ends are no figures and no names.
        assert re.findall(r"[。；：]", case.text) == re.findall(r"[。；：]", old.text)
        assert 0.5 * len(old.text) < len(case.text) <= len(old.text) + 60
    assert changed > 0.9 * len(found)


def lies_between(shape: Any, first: Any, last: Any) -> bool:
    """Numbers lie between those of both shapes; words are those of the first."""

    def fits(value: Any, ends: tuple[Any, Any]) -> bool:
        return min(ends) <= value <= max(ends) if type(value) is int else value == ends[0]

    return all(fits(value, (vars(first)[key], vars(last)[key])) for key, value in vars(shape).items())


seeds = st.integers(0, 2**63 - 1)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_other_shapes_lie_between_those_of_the_splits(name: str, device: Any) -> None:
    problem = task(name).problem  # type: ignore[attr-defined]

    @given(seeds)
    def check(seed: int) -> None:
        other = between(problem, Split.SEARCH, seed, device)
        drawn = other.shapes(Split.SEARCH, device)
        assert drawn == between(problem, Split.SEARCH, seed, device).shapes(Split.SEARCH, device)
        for shape, first in zip(drawn, problem.shapes(Split.SEARCH, device), strict=True):
            assert any(lies_between(shape, first, last) for last in problem.shapes(Split.REPORT, device))
        assert set(drawn).isdisjoint(problem.shapes(Split.REPORT, device))
        assert drawn != problem.shapes(Split.SEARCH, device)
        assert other.shapes(Split.REPORT, device) == problem.shapes(Split.REPORT, device)

    check()


@pytest.mark.parametrize("name", KERNELS)
def test_the_plain_program_is_right_at_other_shapes(name: str) -> None:
    """Run here, because it is ours: what was drawn is a case that the task's own reference and program agree on."""
    from tests.benchmarks.kernels.problems import program, ran

    problem = task(name).problem  # type: ignore[attr-defined]
    other = between(problem, Split.SEARCH, 7, "cpu")
    shape = min(other.shapes(Split.SEARCH), key=lambda s: s.flops)
    inputs = other.inputs(shape, np.random.default_rng(1))
    written = ran(program(problem.plain), shape, inputs)
    assert other.compare(written, other.reference(shape, inputs)) is None


def test_different_seeds_draw_different_shapes() -> None:
    problem = task("softmax").problem  # type: ignore[attr-defined]
    drawn = [between(problem, Split.SEARCH, seed, "cpu").shapes(Split.SEARCH) for seed in range(5)]
    assert all(one != other for one, other in itertools.pairwise(drawn))
