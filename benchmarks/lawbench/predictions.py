"""Read what a candidate wrote: `predictions.csv`, two columns `id,charge`. Untrusted, so bounded and strict."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection

MAX_BYTES = 512 * 1024
MAX_LINE = 1000
HEADER = ["id", "charge"]


class BadOutput(Exception):
    """The file breaks the contract; the message says how, without quoting more than a few characters of it."""


def parse(data: bytes, ids: Collection[str], charges: Collection[str]) -> dict[str, str]:
    """The charge for each id; "" is an abstention. Raises BadOutput.

    Required: UTF-8 (a byte order mark is tolerated), the header `id,charge`, every id exactly once in any order, and
    only charges of the list.
    """
    if len(data) > MAX_BYTES:
        raise BadOutput(f"larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadOutput(f"not UTF-8 at byte {error.start}") from error
    if "\0" in text:
        raise BadOutput("contains a NUL character")
    lines = text.splitlines()
    if any(len(line) > MAX_LINE for line in lines):
        raise BadOutput(f"a line is longer than {MAX_LINE} characters")
    wanted, known = frozenset(ids), frozenset(charges)
    found: dict[str, str] = {}
    try:
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        if next(rows, None) != HEADER:
            raise BadOutput("the first line is not id,charge")
        for number, row in enumerate(rows, start=2):
            if len(row) != 2:
                raise BadOutput(f"row {number} has {len(row)} fields, not 2")
            case, charge = row
            if case not in wanted:
                raise BadOutput(f"row {number}: unknown id {_shown(case)}")
            if case in found:
                raise BadOutput(f"row {number}: id {_shown(case)} stands twice")
            if charge and charge not in known:
                raise BadOutput(f"row {number}: unknown charge {_shown(charge)}")
            found[case] = charge
    except csv.Error as error:
        raise BadOutput(f"not CSV: {error}") from error
    if len(found) != len(wanted):
        raise BadOutput(f"{len(wanted) - len(found)} of {len(wanted)} cases have no row")
    return found


def _shown(text: str) -> str:
    return repr(text[:40])
