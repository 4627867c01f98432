"""The parser of predictions.csv: what it takes, and that nothing hostile gets past it or breaks it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lawbench.predictions import MAX_BYTES, BadOutput, parse
from benchmarks.lawbench.score import as_csv

IDS = ["a1", "b2", "c3"]
CHARGES = ["盗窃", "[走私、贩卖、运输、制造]毒品", 'quoted, "charge"']


@given(st.permutations(IDS), st.lists(st.sampled_from([*CHARGES, ""]), min_size=3, max_size=3))
def test_what_is_written_is_read(order: list[str], chosen: list[str]) -> None:
    answers = dict(zip(order, chosen, strict=True))
    assert parse(as_csv(answers), IDS, CHARGES) == answers


def ids_or_none(data: bytes) -> set[str] | None:
    """The ids that were parsed, or None when the file was refused. Any other exception fails the test."""
    try:
        return set(parse(data, IDS, CHARGES))
    except BadOutput:
        return None


@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    assert ids_or_none(data) in (None, set(IDS))


@given(st.text(alphabet='ab12c3id,charge"\n\r\0盗窃', max_size=80))
def test_near_misses_are_parsed_or_refused(text: str) -> None:
    assert ids_or_none(b"id,charge\n" + text.encode()) in (None, set(IDS))


@pytest.mark.parametrize("text", ["id,charge\na1,盗窃\nb2,\nc3,盗窃\n", "\ufeffid,charge\r\na1,盗窃\r\nb2,\r\nc3,盗窃"])
def test_mark_and_line_ends_of_other_systems_are_tolerated(text: str) -> None:
    assert parse(text.encode(), IDS, CHARGES) == {"a1": "盗窃", "b2": "", "c3": "盗窃"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "first line"),
        (b"id,label\na1,\n", "first line"),
        (b"charge,id\n", "first line"),
        (b"id,charge\n", "3 of 3 cases have no row"),
        (b"id,charge\na1,\nb2,\n", "1 of 3"),
        (b"id,charge\na1,\na1,\nb2,\nc3,\n", "stands twice"),
        (b"id,charge\na1,\nb2,\nc3,\nd4,\n", "unknown id"),
        (b"id,charge\n a1,\nb2,\nc3,\n", "unknown id"),
        (b"id,charge\na1,*\nb2,\nc3,\n", "unknown charge"),
        (b"id,charge\na1\n", "1 fields"),
        (b"id,charge\na1,,\n", "3 fields"),
        (b"id,charge\n\na1,\n", "0 fields"),
        (b"id,charge\na1,\0\n", "NUL"),
        (b"id,charge\na1,\xff\n", "UTF-8"),
        ("id,charge\na1,".encode("utf-16"), "UTF-8"),
        (b'id,charge\na1,"open\nb2,\nc3,\n', "CSV"),
        (b"id,charge\na1," + b"x" * 5000, "longer than"),
        (b"x" * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_each_fault_has_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadOutput, match=reason):
        parse(data, IDS, CHARGES)
