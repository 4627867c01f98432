"""Read model outputs in the form in which LawBench publishes them, and find the charges in them as its metric does.

    {"0": {"origin_prompt": ..., "prediction": "[罪名]盗窃;诈骗<eoa>", "refr": "罪名:盗窃"}, "1": ...}

Only `prediction` is looked at: the reference in such a file is the sender's claim.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import IO, Any

from benchmarks.lawbench.predictions import BadOutput

MAX_BYTES = 32 * 2**20
"""The published files have about 1 MiB."""


def named(text: str, charges: Sequence[str]) -> frozenset[str]:
    """The charges whose names stand anywhere in a text; LawBench's own rule, whatever else the text says."""
    return frozenset(charge for charge in charges if charge in text)


def parse(source: IO[bytes], ids: Collection[str], charges: Sequence[str]) -> dict[str, frozenset[str]]:
    """The charges named in the output to each id. Raises BadOutput."""
    raw = source.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise BadOutput(f"larger than {MAX_BYTES} bytes")
    try:
        value: Any = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_no_repeats)
    except UnicodeDecodeError as error:
        raise BadOutput(f"not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BadOutput("not JSON") from error
    if not isinstance(value, dict):
        raise BadOutput("not an object with one entry a question")
    wanted = frozenset(ids)
    if unknown := next((key for key in value if key not in wanted), None):
        raise BadOutput(f"unknown id {unknown[:40]!r}")
    if missing := len(wanted - value.keys()):
        raise BadOutput(f"{missing} of {len(wanted)} questions have no entry")
    for key, entry in value.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("prediction"), str):
            raise BadOutput(f'entry {key!r} has no "prediction" that is a string')
    return {key: named(entry["prediction"], charges) for key, entry in value.items()}


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise BadOutput(f"id {twice[:40]!r} stands twice")
    return found
