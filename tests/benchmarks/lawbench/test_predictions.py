"""The parser of answers: what it takes, and that nothing hostile gets past it, breaks it or fills the memory."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lawbench.predictions import MAX_BYTES, Answer, BadOutput, checked, parse
from benchmarks.lawbench.sheet import as_lines

IDS = ["a1", "b2", "c3"]
CHARGES = ["盗窃", "[走私、贩卖、运输、制造]毒品", 'quoted, "charge"']


def as_csv(answers: dict[str, str]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([("id", "charge"), *answers.items()])
    return file.getvalue().encode()


def ranked(row: list[str]) -> st.SearchStrategy[Answer]:
    """Ranked charges with probabilities that fall."""
    weights = st.lists(st.floats(0, 1), min_size=len(row), max_size=len(row))
    return weights.map(lambda w: Answer(tuple(row), tuple(sorted((x / (sum(w) or 1) for x in w), reverse=True))))


@given(st.permutations(IDS), st.lists(st.sampled_from([*CHARGES, ""]), min_size=3, max_size=3))
def test_what_is_written_as_csv_is_read(order: list[str], chosen: list[str]) -> None:
    answers = dict(zip(order, chosen, strict=True))
    assert {case: answer.first for case, answer in parse(as_csv(answers), IDS, CHARGES).items()} == answers


@given(st.lists(st.lists(st.sampled_from(CHARGES), unique=True, min_size=1).flatmap(ranked), min_size=3, max_size=3))
def test_what_is_written_as_json_lines_is_read(given_answers: list[Answer]) -> None:
    answers = dict(zip(IDS, given_answers, strict=True))
    assert parse(as_lines(answers), IDS, CHARGES) == answers


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
def test_near_misses_of_csv_are_parsed_or_refused(text: str) -> None:
    assert ids_or_none(b"id,charge\n" + text.encode()) in (None, set(IDS))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from([*IDS, *CHARGES, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.fixed_dictionaries({"id": json_values, "charges": json_values, "probabilities": json_values})))
def test_near_misses_of_json_lines_are_parsed_or_refused(rows: list[dict[str, object]]) -> None:
    assert ids_or_none("".join(json.dumps(row) + "\n" for row in rows).encode()) in (None, set(IDS))


@pytest.mark.parametrize("text", ["id,charge\na1,盗窃\nb2,\nc3,盗窃\n", "\ufeffid,charge\r\na1,盗窃\r\nb2,\r\nc3,盗窃"])
def test_mark_and_line_ends_of_other_systems_are_tolerated(text: str) -> None:
    found = parse(text.encode(), IDS, CHARGES)
    assert {case: answer.first for case, answer in found.items()} == {"a1": "盗窃", "b2": "", "c3": "盗窃"}


def test_answers_to_cases_left_out_are_read_and_dropped() -> None:
    assert set(parse(b"id,charge\na1,\nb2,\nc3,\nd4,\n", IDS, CHARGES, ignored=["d4"])) == set(IDS)


def line(**fields: object) -> bytes:
    return json.dumps({"id": "a1", "charges": ["盗窃"], **fields}).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"id,label\na1,\n", "first line"),
        (b"charge,id\n", "first line"),
        (b"id,charge\n", "3 of 3 cases have no line"),
        (b"id,charge\na1,\nb2,\n", "1 of 3"),
        (b"id,charge\na1,\na1,\nb2,\nc3,\n", "line 3: id 'a1' stands twice"),
        (b"id,charge\na1,\nb2,\nc3,\nd4,\n", "line 5: unknown id 'd4'"),
        (b"id,charge\n a1,\nb2,\nc3,\n", "unknown id"),
        (b"id,charge\na1,*\nb2,\nc3,\n", "unknown charge '\\*'"),
        (b"id,charge\na1\n", "1 fields"),
        (b"id,charge\na1,,\n", "3 fields"),
        (b"id,charge\n\na1,\n", "line 2 is empty"),
        (b"id,charge\na1,\0\n", "NUL"),
        (b"id,charge\na1,\xff\n", "line 2 is not UTF-8"),
        ("id,charge\na1,盗窃".encode("gb18030"), "line 2 is not UTF-8"),
        ("id,charge\na1,".encode("utf-16"), "UTF-16"),
        (b"id,charge\ra1,\rb2,\r", "carriage return"),
        (b'id,charge\na1,"open\nb2,\nc3,\n', "CSV"),
        (b"id,charge\na1," + b"x" * 50_000, "line 2 is longer than"),
        (b"id,charge\n" + b"a1,\n" * MAX_BYTES, "stands twice"),
        ("id,charge,probability\na1,盗窃,often\n".encode(), "'often' is not a number"),
        ("id,charge,probability\na1,盗窃,nan\n".encode(), "not a number from 0 to 1"),
        ("id,charge,probability\na1,盗窃,1.5\n".encode(), "not a number from 0 to 1"),
        (b"{", "line 1 is not JSON"),
        (b"{" * 10_000, "line 1 is not JSON"),
        (b"[]\n", "first line"),
        (b'{"id": "a1"}\n', "not an object with"),
        (line(truth="x"), "not an object with"),
        (line(id=1), "id is not a string"),
        (line(charges="盗窃"), "not a list of strings"),
        (line(charges=["盗窃", "盗窃"]), "a charge stands twice"),
        (line(probabilities=[0.5, 0.5]), "2 probabilities for 1 charges"),
        (line(probabilities=[float("nan")]), "not a list of finite numbers"),
        (line(probabilities=[float("inf")]), "not a list of finite numbers"),
        (line(probabilities=[True]), "not a list of finite numbers"),
        (line(probabilities=[-0.1]), "not a number from 0 to 1"),
        (line(charges=CHARGES[:2], probabilities=[0.2, 0.7]), "rise with rank"),
        (line(charges=CHARGES[:2], probabilities=[0.8, 0.7]), "add up to 1.5"),
        (line(probabilities=[0.5]) + line(id="b2") + line(id="c3"), "for all or for none"),
    ],
)
def test_each_fault_has_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadOutput, match=reason):
        parse(data, IDS, CHARGES)


class Endless(io.RawIOBase):
    """A stream of one line that is as long as is read."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self.left)
        buffer[:count] = b"x" * count
        self.left -= count
        return count


def test_a_line_of_a_hundred_megabytes_is_refused_in_little_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadOutput, match="longer than"):
            parse(io.BufferedReader(Endless(100 * 2**20)), IDS, CHARGES)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_an_archive_is_named_and_not_opened() -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../predictions.csv", b"id,charge\n" + b"\0" * 2**24)
    with pytest.raises(BadOutput, match="archives are not opened"):
        parse(bomb.getvalue(), IDS, CHARGES)


@given(st.lists(st.floats(), max_size=4))
def test_probabilities_are_taken_only_when_they_are_some(values: list[float]) -> None:
    answer = Answer(tuple("abcd"[: len(values)]), tuple(values))
    sound = all(0 <= x <= 1 for x in values) and values == sorted(values, reverse=True) and sum(values) <= 1 + 1e-6
    try:
        assert checked(answer) == answer and sound
    except BadOutput:
        assert not sound
