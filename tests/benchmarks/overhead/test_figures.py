"""Figures of the overhead benchmark follow from the raw values, and a chunk adds to what is there."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.overhead.figures import Chunk, add, figures, ratio_of_medians
from benchmarks.overhead.workload import MEGABYTE, over_streams

seconds = st.floats(min_value=1e-3, max_value=1e3)


def chunk(program: str = "python", **values: list[float]) -> Chunk:
    return Chunk(
        what="round_trip", program=program, reference="plain", values=values, facts={}, load_average=0.0, created="now"
    )


@given(st.lists(st.tuples(seconds, seconds), min_size=2, max_size=40))
def test_ratio_is_that_of_the_medians_and_lies_in_its_range(pairs: list[tuple[float, float]]) -> None:
    ours, plain = [a for a, _ in pairs], [b for _, b in pairs]
    ratio, (low, high) = ratio_of_medians(np.array(ours), np.array(plain))
    assert ratio == pytest.approx(statistics.median(ours) / statistics.median(plain))
    assert min(ours) / max(plain) <= low <= high <= max(ours) / min(plain)


def test_interval_agrees_with_a_bootstrap_written_out() -> None:
    rng = np.random.default_rng(7)
    plain = rng.gamma(9.0, 0.1, size=30)
    ours = 2.0 * plain + rng.normal(0.0, 0.01, size=30)
    drawn = []
    for _ in range(4000):
        rounds = [int(rng.integers(30)) for _ in range(30)]
        drawn.append(statistics.median(ours[rounds].tolist()) / statistics.median(plain[rounds].tolist()))
    drawn.sort()
    _, (low, high) = ratio_of_medians(ours, plain)
    assert (low, high) == pytest.approx((drawn[100], drawn[3899]), rel=0.01)


def test_what_slows_both_in_a_round_does_not_widen_the_interval() -> None:
    plain = np.array([1.0, 5.0, 1.0, 9.0, 2.0, 7.0])
    ratio, interval = ratio_of_medians(3 * plain, plain)
    assert ratio == pytest.approx(3.0) and interval == pytest.approx((3.0, 3.0))


@pytest.mark.parametrize(("ours", "plain"), [([1.0], [1.0]), ([1.0, 2.0], [1.0, 2.0, 3.0])])
def test_a_ratio_needs_rounds_that_have_both(ours: list[float], plain: list[float]) -> None:
    with pytest.raises(ValueError, match="paired ratio"):
        ratio_of_medians(np.array(ours), np.array(plain))


def test_p99_is_only_given_where_there_are_values_for_it() -> None:
    few = figures([chunk(plain=[1.0, 2.0, 3.0])])[0]
    many = figures([chunk(plain=[float(i) for i in range(1, 101)])])[0]
    assert (few.p99, few.most) == (None, 3.0)
    assert many.p99 == pytest.approx(99.01)


def test_chunks_of_one_kind_are_taken_together_and_others_kept_apart(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    add(file, chunk(plain=[1.0, 1.0], ours=[2.0, 2.0]))
    add(file, chunk("torch", plain=[4.0, 4.0], ours=[4.0, 4.0]))
    made = add(file, chunk(plain=[3.0, 3.0], ours=[6.0, 6.0]))
    rows = {(row.program, row.way): (row.n, row.p50, row.ratio) for row in made.figures}
    assert rows == {
        ("python", "plain"): (4, 2.0, 1.0),
        ("python", "ours"): (4, 4.0, 2.0),
        ("torch", "plain"): (2, 4.0, 1.0),
        ("torch", "ours"): (2, 4.0, 1.0),
    }


def test_the_input_has_every_byte_so_that_nothing_may_treat_it_as_text() -> None:
    assert len(MEGABYTE) == 2**20 and set(MEGABYTE) == set(range(256))
    with pytest.raises(UnicodeDecodeError):
        MEGABYTE.decode()
    compile(over_streams("import this"), "program", "exec")
