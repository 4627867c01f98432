"""Who sees which case: the committed splits are the ones that their rule makes, do not overlap, and ids say nothing."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.lawbench import data, overlaps
from benchmarks.lawbench.data import Case, LawData, sample
from benchmarks.lawbench.sheet import inputs, sheet
from benchmarks.task import Split
from sandboxes.base import UserError


@pytest.fixture(scope="module")
def law() -> LawData:
    try:
        return data.load()
    except UserError as error:
        pytest.skip(str(error))


def test_the_splits_are_these_and_no_others(law: LawData) -> None:
    assert (len(law.charges), len(law.train), len(law.search), len(law.report)) == (191, 4739, 528, 882)
    assert len(law.left_out) == 65 + 31
    assert data.splits_sha256() == data.SPLITS_SHA256


def test_every_published_case_is_in_exactly_one_split(law: LawData) -> None:
    files = data.published_files()
    keys = [case.key for case in (*law.train, *law.search, *law.report, *law.left_out)]
    assert sorted(keys) == sorted(case.key for case in (*files.training, *files.testing))


def test_as_published_nothing_is_left_out(law: LawData) -> None:
    published = data.load_as_published()
    assert (len(published.report), len(published.shown(Split.REPORT))) == (913, 5332)
    assert (published.shown(Split.SEARCH), published.search) == (law.train, law.search)


def test_no_scored_text_is_shown_with_its_charge(law: LawData) -> None:
    shown = {case.text for case in law.train}
    assert not any(case.text in shown for split in Split for case in law.cases(split))
    assert not {case.text for case in law.search} & {case.text for case in law.report}


@pytest.mark.slow
def test_the_committed_lists_follow_from_the_files_and_no_two_kept_texts_are_near(law: LawData) -> None:
    files = data.published_files()
    pairs = overlaps.near_pairs({case.key: case.text for case in (*files.training, *files.testing)})
    assert overlaps.splits(files.training, files.testing, pairs) == data.read_splits()
    kept = {case.key for case in (*law.train, *law.search, *law.report)}
    assert not [pair for pair in pairs if {pair.first, pair.second} <= kept]
    [exact, *_, near] = overlaps.audit(pairs, {c.key: c.charge for c in (*files.training, *files.testing)})
    assert (exact["test cases seen in training"], near["test cases seen in training"]) == (12, 25)


def test_changed_lists_are_refused(tmp_path: Path) -> None:
    lists = json.loads(data.SPLITS.read_bytes())
    lists["training file"]["train"].append(lists["training file"]["search"].pop())
    changed = tmp_path / "splits.json"
    changed.write_text(json.dumps(lists))
    with pytest.raises(UserError, match="restore it with git"):
        data.read_splits(changed)
    assert data.read_splits(changed, data.splits_sha256(changed)) == lists


def test_an_id_that_the_file_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match="train/7"):
        data.pick([Case("train/1", "", "")], "train", [1, 7])


def test_every_charge_is_known_and_can_be_learned(law: LawData) -> None:
    assert {case.charge for case in (*law.train, *law.search, *law.report)} <= set(law.charges)
    assert {case.charge for case in law.search} <= {case.charge for case in law.train}
    assert max(Counter(case.charge for case in law.search).values()) == 3


def test_candidate_gets_no_charge_and_no_key_of_a_scored_case(law: LawData) -> None:
    shown = sheet(law.report, seed=1)
    given_files = inputs(law.charges, law.shown(Split.REPORT), shown)
    cases = [json.loads(line) for line in given_files["cases.jsonl"].decode().split("\n") if line]
    assert all(set(case) == {"id", "text"} for case in cases)
    assert not any(re.search(rb"(train|test)/[0-9]", given_file) for given_file in given_files.values())
    searched = {case.text for case in law.search}
    assert not searched & {json.loads(x)["text"] for x in given_files["train.jsonl"].decode().split("\n") if x}


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


def test_sample_is_fixed_and_does_not_depend_on_order() -> None:
    cases = [Case(f"test/{i}", "", "") for i in range(100)]
    assert sample(cases, 10) == sample(cases[::-1], 10)


def random_text(rng: random.Random, length: int) -> str:
    return "".join(chr(0x4E00 + rng.randrange(500)) for _ in range(length))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 12))
def test_a_text_retold_with_a_few_other_characters_is_found(seed: int, changes: int) -> None:
    rng = random.Random(seed)
    text = random_text(rng, 400)
    retold = list(text)
    for _ in range(changes):
        retold[rng.randrange(len(retold))] = "某"
    texts = {"a": text, "b": "".join(retold), "c": random_text(rng, 400)}
    exact = overlaps.jaccard(overlaps.shingles(text), overlaps.shingles("".join(retold)))
    found = overlaps.near_pairs(texts)
    assert [(pair.first, pair.second) for pair in found] == [("a", "b")]
    assert found[0].jaccard == exact > overlaps.NEAR


@given(st.text(max_size=40), st.text(max_size=40))
def test_jaccard_is_a_similarity(one: str, other: str) -> None:
    first, second = overlaps.shingles(one), overlaps.shingles(other)
    assert overlaps.jaccard(first, first) == 1.0
    assert 0.0 <= overlaps.jaccard(first, second) == overlaps.jaccard(second, first) <= 1.0


def test_repeats_and_seen_cases_are_left_out_and_the_first_stays() -> None:
    rng = random.Random(0)
    stories = [random_text(rng, 100) for _ in range(18)]
    training = [Case(f"train/{i}", stories[i % 18], "盗窃") for i in range(20)]
    testing = [Case("test/0", stories[3], "盗窃"), Case("test/1", random_text(rng, 100), "盗窃")]
    pairs = overlaps.near_pairs({case.key: case.text for case in (*training, *testing)})
    made = overlaps.splits(training, testing, pairs)
    assert made["training file"]["left out"] == [18, 19]
    assert len(made["training file"]["train"]) + len(made["training file"]["search"]) == 18
    assert made["test file"] == {"report": [1], "left out": [0]}
