"""The gate keeps real gains and refuses luck, other units, failures and bought gains; and it errs no more than it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from benchmarks.registry import task
from benchmarks.task import Score, Verdict
from feedback import gate
from feedback.gate import ERROR, LOOKS, judge, share

DENOISING, LAW = task("denoising"), task("lawbench")


def score(values: np.ndarray, **secondary: float) -> Score:
    units = {f"t0/cell{i}": float(v) for i, v in enumerate(values)}
    mean = float(values.mean())
    guarded = {"likelihood_margin": 0.1, **secondary}
    return Score(verdict=Verdict.OK, value=mean, interval=(mean, mean), units=units, secondary=guarded)


@pytest.fixture
def base() -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 1.0, 300)


# -- the error -----------------------------------------------------------------------------------------------------


def test_the_shares_of_a_run_add_up_to_the_error() -> None:
    for generations, tries, looks in itertools.product((1, 3, 20), (1, 4, 8), (1, LOOKS)):
        total = generations * tries * looks * share(generations=generations, tries=tries, looks=looks)
        assert total == pytest.approx(ERROR)


def kept_something(rng: np.random.Generator, generations: int, tries: int) -> bool:
    """A run in which no try is any better, cells differ in what suits them, and each look thins the same cells again."""
    cells = rng.normal(3.0, 1.0, 60)
    for _ in range(generations):
        for _ in range(tries):
            suits = rng.normal(0, 0.3, 60)  # of this try, on each cell; a mean of 0 over all cells that there are
            ours: list[Score] = []
            theirs: list[Score] = []
            for _ in range(LOOKS):
                theirs.append(score(cells))
                ours.append(score(cells + suits + rng.normal(0, 0.02, 60)))
                found = judge(DENOISING, ours, theirs, tries=tries, generations=generations, looks=LOOKS)
                if found.kept:
                    return True
                if not found.undecided:
                    break
    return False


def test_a_run_of_no_better_tries_keeps_something_no_more_often_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 runs. Were thinnings of one cell taken for other cells, a third look would see three times the evidence."""
    monkeypatch.setattr(gate, "FLIPS", 4000)
    rng = np.random.default_rng(1)
    wrong = sum(kept_something(rng, generations=3, tries=2) for _ in range(300))
    assert stats.binomtest(wrong, 300, ERROR, alternative="greater").pvalue > 1e-3, f"{wrong} of 300 runs"


def test_thinnings_of_one_cell_are_one_piece_of_evidence() -> None:
    rng = np.random.default_rng(5)
    base, suits = rng.normal(3, 1, 40), rng.normal(0.06, 0.3, 40)
    once = judge(DENOISING, [score(base - suits)], [score(base)], tries=1)
    thrice = judge(DENOISING, [score(base - suits)] * 3, [score(base)] * 3, tries=1, looks=3)
    assert thrice.p == once.p and thrice.gain == pytest.approx(once.gain)
    # Cases of the law have no repeats: each stands for itself.
    assert LAW.subject("search/3") is None


def test_a_long_run_can_still_keep_what_is_sure(base: np.ndarray) -> None:
    """The smallest p-value that can be seen lies below what it is held against, however many share the error."""
    found = judge(DENOISING, [score(base - 1)], [score(base)], tries=8, generations=500, looks=LOOKS)
    assert found.kept and found.p is not None and found.alpha is not None
    assert found.p < found.alpha < 1 / (1 + gate.FLIPS)


# -- decisions -----------------------------------------------------------------------------------------------------


def test_a_small_real_gain_is_kept(base: np.ndarray) -> None:
    better = base - 0.05 + np.random.default_rng(1).normal(0, 0.1, 300)
    decision = judge(DENOISING, [score(better)], [score(base)], tries=4)
    assert decision.kept
    assert decision.low is not None
    assert 0 < decision.low < 0.05 < (decision.high or 0)


def test_the_better_direction_is_the_metrics(base: np.ndarray) -> None:
    assert not judge(DENOISING, [score(base + 0.5)], [score(base)], tries=1).kept
    right, wrong = np.array([1.0] * 60), np.array([0.0] * 20 + [1.0] * 40)
    assert judge(LAW, [score(right)], [score(wrong)], tries=1).kept
    assert not judge(LAW, [score(wrong)], [score(right)], tries=1).kept


def test_another_look_is_worth_it_only_where_something_shows(base: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    noisy = judge(DENOISING, [score(base - 0.05 + rng.normal(0, 0.5, 300))], [score(base)], tries=4, looks=3)
    assert not noisy.kept and noisy.undecided and noisy.p is not None and noisy.p < gate.PROMISING
    assert not judge(DENOISING, [score(base + 0.1)], [score(base)], tries=4, looks=3).undecided
    assert not judge(
        DENOISING, [score(base - 0.05 + rng.normal(0, 0.5, 300))], [score(base)], tries=4, looks=1
    ).undecided


def test_a_failure_is_refused_with_its_reason(base: np.ndarray) -> None:
    failed = Score(verdict=Verdict.TIMEOUT, reason="ran longer")
    decision = judge(DENOISING, [failed], [score(base)], tries=1)
    assert (decision.kept, decision.why, decision.undecided) == (False, "timeout: ran longer", False)
    later = judge(DENOISING, [score(base - 1), failed], [score(base)] * 2, tries=1, looks=3)
    assert not later.kept and later.why == "timeout: ran longer"


def test_a_best_that_failed_is_replaced_by_nothing(base: np.ndarray) -> None:
    failed = Score(verdict=Verdict.OOM, reason="too much")
    decision = judge(DENOISING, [score(base - 1)], [failed], tries=1)
    assert not decision.kept and not decision.undecided
    assert "best program failed" in decision.why


def test_a_gain_may_not_be_bought_with_a_guarded_quantity(base: np.ndarray) -> None:
    bought = judge(DENOISING, [score(base - 1, likelihood_margin=-0.2)], [score(base, likelihood_margin=0.05)], tries=1)
    assert not bought.kept
    assert "likelihood_margin" in bought.why
    # A parent that is itself under the floor is only not to be made worse.
    poor, poorer = score(base - 1, likelihood_margin=-0.1), score(base, likelihood_margin=-0.2)
    assert judge(DENOISING, [poor], [poorer], tries=1).kept
    unknown = Score(**{**score(base - 1).model_dump(), "secondary": {"likelihood_margin": float("nan")}})
    assert not judge(DENOISING, [unknown], [score(base)], tries=1).kept


def test_other_units_are_an_error_not_a_comparison(base: np.ndarray) -> None:
    with pytest.raises(ValueError, match="same units"):
        judge(DENOISING, [score(base[:10])], [score(base)], tries=1)
