"""The gate keeps real gains and refuses luck, other units, failures and bought gains."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.registry import task
from benchmarks.task import Score, Verdict
from feedback.gate import judge

DENOISING = task("denoising")


def score(values: np.ndarray, **secondary: float) -> Score:
    units = {f"c{i}": float(v) for i, v in enumerate(values)}
    mean = float(values.mean())
    guarded = {"likelihood_margin": 0.1, **secondary}
    return Score(verdict=Verdict.OK, value=mean, interval=(mean, mean), units=units, secondary=guarded)


@pytest.fixture
def base() -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 1.0, 300)


def test_a_small_real_gain_is_kept(base: np.ndarray) -> None:
    better = base - 0.05 + np.random.default_rng(1).normal(0, 0.1, 300)
    decision = judge(DENOISING, score(better), score(base), tries=4)
    assert decision.kept
    assert decision.low is not None
    assert 0 < decision.low < 0.05 < (decision.high or 0)


def test_noise_is_refused_about_as_often_as_stated(base: np.ndarray) -> None:
    kept = 0
    for trial in range(200):
        other = base + np.random.default_rng(100 + trial).normal(0, 0.3, 300)
        kept += judge(DENOISING, score(other), score(base), tries=4).kept
    assert kept <= 6  # 5 % shared among 4 tries, one side: about 1.3 expected.


def test_worse_is_refused(base: np.ndarray) -> None:
    assert not judge(DENOISING, score(base + 0.5), score(base), tries=1).kept


def test_a_failure_is_refused_with_its_reason(base: np.ndarray) -> None:
    decision = judge(DENOISING, Score(verdict=Verdict.TIMEOUT, reason="ran longer"), score(base), tries=1)
    assert (decision.kept, decision.why) == (False, "timeout: ran longer")


def test_a_gain_may_not_be_bought_with_a_guarded_quantity(base: np.ndarray) -> None:
    bought = judge(DENOISING, score(base - 1, likelihood_margin=-0.2), score(base, likelihood_margin=0.05), tries=1)
    assert not bought.kept
    assert "likelihood_margin" in bought.why
    # A parent that is itself under the floor is only not to be made worse.
    poor, poorer = score(base - 1, likelihood_margin=-0.1), score(base, likelihood_margin=-0.2)
    assert judge(DENOISING, poor, poorer, tries=1).kept


def test_other_units_are_an_error_not_a_comparison(base: np.ndarray) -> None:
    with pytest.raises(ValueError, match="same units"):
        judge(DENOISING, score(base[:10]), score(base), tries=1)
