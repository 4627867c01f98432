"""The analysis of variance of copies against statsmodels, and on numbers whose parts are known."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from benchmarks.overhead.alike import what_stays


def drawn(rng, programs, lives, stays):
    """Logarithms of ratios: what stays with a program, what all share in a life, and what each life deals."""
    effects = stays * rng.standard_normal((programs, 1))
    return effects + rng.standard_normal((1, lives)) + 0.1 * rng.standard_normal((programs, lives))


def test_one_run_is_a_two_way_analysis_of_variance():
    table = drawn(np.random.default_rng(1), 5, 9, 0.05)
    program, life = np.indices(table.shape)
    long = pd.DataFrame({"y": table.ravel(), "program": program.ravel(), "life": life.ravel()})
    rows = anova_lm(ols("y ~ C(program) + C(life)", long).fit())
    found = what_stays([table])
    assert found["variance_ratio"] == pytest.approx(rows.loc["C(program)", "F"])
    assert found["variance_ratio_p"] == pytest.approx(rows.loc["C(program)", "PR(>F)"])


def test_what_stays_is_told_from_what_each_life_deals():
    rng = np.random.default_rng(2)
    found = what_stays([drawn(rng, 5, 10, 0.05) for _ in range(400)])
    assert found["deviation_that_stays"] == pytest.approx(0.05, rel=0.1)
    assert found["deviation_of_a_life"] == pytest.approx(0.1, rel=0.05)


def test_where_nothing_stays_p_is_any_number():
    rng = np.random.default_rng(3)
    p = [what_stays([drawn(rng, 5, lives, 0.0) for lives in (6, 8)])["variance_ratio_p"] for _ in range(400)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)
