"""The metrics agree with scikit-learn, and the score keeps what pairing needs."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.lawbench.data import Case
from benchmarks.lawbench.score import macro_f1, score_answers, sheet
from benchmarks.task import Verdict
from results.stats import wilson

CHARGES = ["盗窃", "抢劫", "诈骗", "赌博"]
pairs = st.lists(st.tuples(st.sampled_from(CHARGES), st.sampled_from([*CHARGES, ""])), min_size=1, max_size=60)


@given(pairs)
def test_macro_f1_is_that_of_scikit_learn_over_the_charges_that_occur(both: list[tuple[str, str]]) -> None:
    truth, predicted = [t for t, _ in both], [p for _, p in both]
    expected = f1_score(truth, predicted, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert math.isclose(macro_f1(truth, predicted), expected, abs_tol=1e-12)


@given(pairs, st.integers(0, 2**32))
def test_score_of_answers(both: list[tuple[str, str]], seed: int) -> None:
    shown = sheet([Case(f"test/{i}", "", truth) for i, (truth, _) in enumerate(both)], seed)
    answers = {name: both[int(case.key.removeprefix("test/"))][1] for name, case in shown.cases}
    score = score_answers(shown, answers)
    assert score.verdict is Verdict.OK
    assert score.value is not None
    assert math.isclose(score.value, accuracy_score([t for t, _ in both], [p for _, p in both]))
    assert score.interval == wilson(sum(t == p for t, p in both), len(both))
    assert score.units == {f"test/{i}": float(t == p) for i, (t, p) in enumerate(both)}
    assert math.isclose(score.secondary["abstained"], sum(p == "" for _, p in both) / len(both))
