"""Read answers: CSV or JSON lines, from a candidate or from a user. Untrusted, so bounded, strict and never executed.

    id,charge                       id,charge,probability
    17,盗窃                          17,盗窃,0.91

    {"id": "17", "charges": ["盗窃", "抢夺"], "probabilities": [0.91, 0.05]}

One line is one case. In JSON lines the charges stand in the order of rank, the most likely first, and none abstains; in CSV
an empty charge abstains. Probabilities are optional, for all cases or for none. At most MAX_LINE bytes of a line are ever
held, so the size of the input does not matter to memory.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count, pairwise
from typing import IO, Any

MAX_BYTES = 8 * 2**20
MAX_LINE = 16 * 2**10
"""Bytes; 191 ranked charges with probabilities take 10 KiB."""
HEADERS = (["id", "charge"], ["id", "charge", "probability"])
FIELDS = {"id", "charges", "probabilities"}
MARK = b"\xef\xbb\xbf"


class BadOutput(Exception):
    """The answers break the contract; the message says how, without quoting more than a few characters of them."""


@dataclass(frozen=True)
class Answer:
    """What was answered to one case."""

    charges: tuple[str, ...] = ()
    """In the order of rank, none twice; empty for an abstention."""
    probabilities: tuple[float, ...] | None = None
    """One for each of `charges`, not rising, together at most 1; None where none were given."""

    @property
    def first(self) -> str:
        """The answer that counts for accuracy; "" for an abstention."""
        return self.charges[0] if self.charges else ""


def parse(
    data: bytes | IO[bytes], ids: Collection[str], charges: Collection[str], ignored: Collection[str] = ()
) -> dict[str, Answer]:
    """The answer to each id. Raises BadOutput.

    Required: UTF-8 (a byte order mark is tolerated), every id exactly once in any order, only charges of the list.
    `ignored` ids may be answered too, and their answers are dropped.
    """
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    wanted, known, spare = frozenset(ids), frozenset(charges), frozenset(ignored)
    found: dict[str, Answer] = {}
    for number, case, answer in _answers(_lines(source)):
        if case not in wanted and case not in spare:
            raise BadOutput(f"line {number}: unknown id {_shown(case)}")
        if case in found:
            raise BadOutput(f"line {number}: id {_shown(case)} stands twice")
        unknown = next((charge for charge in answer.charges if charge not in known), None)
        if unknown is not None:
            raise BadOutput(f"line {number}: unknown charge {_shown(unknown)}")
        try:
            found[case] = checked(answer)
        except BadOutput as error:
            raise BadOutput(f"line {number}: {error}") from error
    if missing := len(wanted - found.keys()):
        raise BadOutput(f"{missing} of {len(wanted)} cases have no line")
    kept = {case: answer for case, answer in found.items() if case in wanted}
    if len({answer.probabilities is None for answer in kept.values() if answer.charges}) == 2:
        raise BadOutput("some cases have probabilities and some have none; give them for all or for none")
    return kept


def checked(answer: Answer) -> Answer:
    """The answer itself when ranks and probabilities make sense. Raises BadOutput."""
    if len(set(answer.charges)) != len(answer.charges):
        raise BadOutput("a charge stands twice")
    given = answer.probabilities
    if given is None:
        return answer
    if len(given) != len(answer.charges):
        raise BadOutput(f"{len(given)} probabilities for {len(answer.charges)} charges")
    # Written so that NaN, which compares false with everything, fails.
    if not all(0.0 <= p <= 1.0 for p in given):
        raise BadOutput("a probability is not a number from 0 to 1")
    if any(later > earlier for earlier, later in pairwise(given)):
        raise BadOutput("probabilities rise with rank; the most likely charge comes first")
    if sum(given) > 1.0 + 1e-6:
        raise BadOutput(f"probabilities of one case add up to {sum(given):.4g}")
    return answer


def _lines(source: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; empty ones at the end of the file are skipped."""
    read, empty = 0, 0
    for number in count(1):
        raw = source.readline(MAX_LINE + 1)
        if not raw:
            return
        read += len(raw)
        if number == 1:
            raw = _without_mark(raw)
        if read > MAX_BYTES:
            raise BadOutput(f"larger than {MAX_BYTES} bytes")
        if len(raw.rstrip(b"\r\n")) > MAX_LINE - 2:
            raise BadOutput(f"line {number} is longer than {MAX_LINE - 2} bytes")
        try:
            line = raw.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise BadOutput(f"line {number} is not UTF-8 (byte {error.start}); save the file as UTF-8") from error
        if "\0" in line:
            raise BadOutput(f"line {number} contains a NUL character")
        if "\r" in line:
            raise BadOutput(f"line {number} contains a carriage return; end lines with a line feed")
        if line:
            if empty:
                raise BadOutput(f"line {empty} is empty")
            yield number, line
        elif not empty:
            empty = number


def _without_mark(raw: bytes) -> bytes:
    """The first line without a byte order mark; other files that are often sent by mistake are named."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadOutput("the file is UTF-16; save it as UTF-8")
    if raw.startswith((b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")):
        raise BadOutput("the file is an archive, and archives are not opened; send the CSV or JSON lines inside")
    return raw.removeprefix(MARK)


def _answers(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, Answer]]:
    """Line number, id and answer; the first line tells which of the two forms it is."""
    first = next(lines, None)
    if first is None:
        raise BadOutput("the file is empty")
    if first[1].lstrip().startswith("{"):
        yield (first[0], *_object(*first))
        for number, line in lines:
            yield (number, *_object(number, line))
        return
    header = _fields(*first)
    if header not in HEADERS:
        raise BadOutput("the first line is neither id,charge nor id,charge,probability nor a JSON object")
    for number, line in lines:
        row = _fields(number, line)
        if len(row) != len(header):
            raise BadOutput(f"line {number} has {len(row)} fields, not {len(header)}")
        charges = (row[1],) if row[1] else ()
        probabilities = None
        if len(row) == 3 and charges:
            try:
                probabilities = (float(row[2]),)
            except ValueError as error:
                raise BadOutput(f"line {number}: probability {_shown(row[2])} is not a number") from error
        yield number, row[0], Answer(charges, probabilities)


def _fields(number: int, line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise BadOutput(f"line {number} is not CSV: {error}") from error


def _object(number: int, line: str) -> tuple[str, Answer]:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadOutput(f"line {number} is not JSON") from error
    if not isinstance(value, dict) or not {"id", "charges"} <= value.keys() <= FIELDS:
        raise BadOutput(f'line {number} is not an object with "id", "charges" and, if you like, "probabilities"')
    charges, probabilities = value["charges"], value.get("probabilities")
    if not isinstance(value["id"], str):
        raise BadOutput(f"line {number}: the id is not a string")
    if not isinstance(charges, list) or not all(isinstance(charge, str) for charge in charges):
        raise BadOutput(f"line {number}: charges is not a list of strings")
    if probabilities is None:
        return value["id"], Answer(tuple(charges))
    if not isinstance(probabilities, list) or not all(_is_number(p) for p in probabilities):
        raise BadOutput(f"line {number}: probabilities is not a list of finite numbers")
    return value["id"], Answer(tuple(charges), tuple(float(p) for p in probabilities))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e9 and math.isfinite(value)


def _shown(text: str) -> str:
    return repr(text[:40])
