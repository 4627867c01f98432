"""Find texts that stand twice in the published files, word for word or nearly, and fix the splits without them.

    python -m benchmarks.lawbench.overlaps            # the audit, as a table
    python -m benchmarks.lawbench.overlaps --write    # and splits.json anew, which changes what scores mean

A text is the set of its 5-character shingles, without white space. MinHash with banding (Broder 1997; Leskovec et al.,
Mining of Massive Datasets, ch. 3; here from `datasketch`) proposes pairs, and each is checked by its exact Jaccard index.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasketch import MinHash, MinHashLSH

from benchmarks.lawbench import data
from benchmarks.lawbench.data import Case
from results.store import write_atomically

SHINGLE = 5
PERMUTATIONS = 128
PROPOSE = 0.4
"""Jaccard index from which on a pair is proposed: below NEAR, so that the sketch's error loses no pair that counts."""
NEAR = 0.5
"""Jaccard index from which on two texts tell the same story. Read by eye: at 0.5 to 0.7 the pairs are judgments of
accomplices in one incident; below 0.4 they share a court's phrases only."""


@dataclass(frozen=True)
class Pair:
    """Two cases whose texts are nearly the same."""

    first: str
    """Key of the case that stands earlier: training file first, each in the order of its file."""
    second: str
    jaccard: float


def shingles(text: str) -> frozenset[str]:
    """The 5-character pieces of a text, white space left out; a shorter text is one piece."""
    dense = "".join(text.split())
    return frozenset(dense[i : i + SHINGLE] for i in range(max(1, len(dense) - SHINGLE + 1)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Size of the intersection over size of the union."""
    return len(one & other) / len(one | other)


def near_pairs(texts: Mapping[str, str], at_least: float = NEAR) -> list[Pair]:
    """All pairs of keys whose texts have that Jaccard index or more, in the order of `texts`."""
    pieces = {key: shingles(text) for key, text in texts.items()}
    index = MinHashLSH(threshold=min(PROPOSE, at_least), num_perm=PERMUTATIONS)
    found: list[Pair] = []
    for key, own in pieces.items():
        sketch = MinHash(PERMUTATIONS, seed=1)
        sketch.update_batch([piece.encode() for piece in own])
        for earlier in sorted(index.query(sketch)):
            alike = jaccard(pieces[earlier], own)
            if alike >= at_least:
                found.append(Pair(earlier, key, alike))
        index.insert(key, sketch)
    return found


def left_out(cases: Sequence[Case], pairs: Sequence[Pair]) -> dict[str, str]:
    """Key of each case that nearly repeats an earlier one, and the key of that one. Chains count: the first stays."""
    named = {pair.second: pair.first for pair in reversed(pairs)}
    return {case.key: named[case.key] for case in cases if case.key in named}


def splits(training: Sequence[Case], testing: Sequence[Case], pairs: Sequence[Pair]) -> dict[str, dict[str, list[int]]]:
    """The id lists of `splits.json`, by published file."""
    dropped = left_out([*training, *testing], pairs)
    kept = [case for case in training if case.key not in dropped]
    searched = data.search_keys(kept)
    return {
        "training file": {
            "train": _ids(case.key for case in kept if case.key not in searched),
            "search": _ids(searched),
            "left out": _ids(case.key for case in training if case.key in dropped),
        },
        "test file": {
            "report": _ids(case.key for case in testing if case.key not in dropped),
            "left out": _ids(case.key for case in testing if case.key in dropped),
        },
    }


def _ids(keys: object) -> list[int]:
    return sorted(int(str(key).split("/")[1]) for key in keys)  # type: ignore[attr-defined]


def audit(pairs: Sequence[Pair], charge_of: Mapping[str, str]) -> list[dict[str, str | float]]:
    """How many pairs there are from each Jaccard index on, by the files they stand in."""
    rows: list[dict[str, str | float]] = []
    for least in (1.0, 0.9, 0.7, NEAR):
        counted = [pair for pair in pairs if pair.jaccard >= least]
        kinds = Counter(f"{p.first.split('/')[0]}-{p.second.split('/')[0]}" for p in counted)
        rows.append({
            "jaccard from": least, **{kind: float(kinds[kind]) for kind in ("train-train", "train-test", "test-test")},
            "other charge": float(sum(charge_of[p.first] != charge_of[p.second] for p in counted)),
            "test cases seen in training": float(
                len({p.second for p in counted if p.first.startswith("train/") and p.second.startswith("test/")})
            ),
        })  # fmt: skip
    return rows


def main(words: Sequence[str]) -> None:
    """Print the audit; with `--write` also write `splits.json`."""
    files = data.published_files()
    cases = [*files.training, *files.testing]
    print(f"comparing {len(cases)} texts (about half a minute)", file=sys.stderr)
    pairs = near_pairs({case.key: case.text for case in cases})
    for row in audit(pairs, {case.key: case.charge for case in cases}):
        print("  ".join(f"{name} {value:g}" if isinstance(value, float) else name for name, value in row.items()))
    made = splits(files.training, files.testing, pairs)
    for lists in made.values():
        print("  ".join(f"{name} {len(ids)}" for name, ids in lists.items()))
    if "--write" in words:
        text = "{\n" + ",\n".join(
            f' "{file}": {{\n' + ",\n".join(f'  "{name}": {json.dumps(ids)}' for name, ids in lists.items()) + "\n }"
            for file, lists in made.items()
        )  # fmt: skip
        written = write_atomically(Path(data.SPLITS), (text + "\n}\n").encode())
        print(f"{written}: put the hash {data.splits_sha256()} into data.py")


if __name__ == "__main__":
    main(sys.argv[1:])
