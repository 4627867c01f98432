"""Who sees which case: splits do not overlap, are fixed, and ids say nothing."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lawbench import data
from benchmarks.lawbench.data import Case, LawData, divide, sample, split_hash
from benchmarks.lawbench.score import inputs, sheet
from benchmarks.task import Split
from sandboxes.base import UserError


@pytest.fixture(scope="module")
def law() -> LawData:
    try:
        return data.load()
    except UserError as error:
        pytest.skip(str(error))


def test_the_splits_are_these_and_no_others(law: LawData) -> None:
    assert (len(law.charges), len(law.train), len(law.search), len(law.report)) == (191, 4769, 529, 901)
    assert (law.repeated, law.published) == (34, 12)
    assert split_hash(law.train) == "b6b617a30eb1b280c8e67982f6e67baafdef5c46fc539d151c604ed9d973fb21"
    assert split_hash(law.search) == "e511360cd220d6dc950e7d444bf5810de9946cccfb58f79970933a512e3a07ed"
    assert split_hash(law.report) == "152cbc41291e544bd586e018d79059513e1a1bb000f40d1e646c2ad76b4e6715"


def test_no_scored_text_is_shown_with_its_charge(law: LawData) -> None:
    shown = {case.text for case in law.train}
    assert not any(case.text in shown for split in Split for case in law.cases(split))
    assert not {case.text for case in law.search} & {case.text for case in law.report}


def test_every_charge_is_known_and_can_be_learned(law: LawData) -> None:
    assert {case.charge for case in (*law.train, *law.search, *law.report)} <= set(law.charges)
    assert {case.charge for case in law.search} <= {case.charge for case in law.train}
    assert max(Counter(case.charge for case in law.search).values()) == 3


def test_candidate_gets_no_charge_and_no_key_of_a_scored_case(law: LawData) -> None:
    shown = sheet(law.report, seed=1)
    given_files = inputs(law, shown)
    cases = [json.loads(line) for line in given_files["cases.jsonl"].decode().split("\n") if line]
    assert all(set(case) == {"id", "text"} for case in cases)
    assert not any(case.key.encode() in data for case in law.report for data in given_files.values())


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_ids_and_order_are_drawn_under_the_seed(one: int, other: int) -> None:
    cases = [Case(f"test/{i}", f"text {i}", "盗窃") for i in range(40)]
    assert sheet(cases, one) == sheet(cases, one)
    if one != other:
        assert not set(sheet(cases, one).ids) & set(sheet(cases, other).ids)
    shown = sheet(cases, one)
    assert len(set(shown.ids)) == len(cases)
    assert [case for _, case in shown.cases] != cases
    assert sorted(shown.ids) != shown.ids


def test_repeats_and_published_cases_are_left_out() -> None:
    training = [Case(f"train/{i}", f"facts {i % 18}", "盗窃") for i in range(20)]
    testing = [Case("test/0", "facts 3", "盗窃"), Case("test/1", "other facts", "盗窃")]
    law = divide(["盗窃"], training, testing)
    assert (law.repeated, law.published, len(law.train) + len(law.search)) == (2, 1, 18)
    assert [case.key for case in law.report] == ["test/1"]


def test_sample_is_fixed_and_does_not_depend_on_order() -> None:
    cases = [Case(f"test/{i}", "", "") for i in range(100)]
    assert sample(cases, 10) == sample(cases[::-1], 10)
