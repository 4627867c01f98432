"""The original LawBench task 3-3: 500 questions with one to three charges each, in LawBench's own file format.

Source: LawBench (Fei et al. 2023, arXiv:2309.16289), github.com/open-compass/LawBench at the commit below. Its licence page
says to follow the licence of the data's creator; CAIL2018 names none, so the files are fetched and never shipped. The
list of the 189 charges that the published metric knows is read out of its evaluation program, which is parsed and
never run.

    python -m benchmarks.lawbench.multilabel.data --write      # splits.json anew, which changes what scores mean
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks.fetch import Progress, http_file
from benchmarks.lawbench import data as lawbench
from benchmarks.task import Split
from results.store import write_atomically
from sandboxes.base import UserError
from sandboxes.cache import cache_dir

COMMIT = "e30981bb3ff54c41571f222e0b23e92d27375388"
ADDRESS = f"https://raw.githubusercontent.com/open-compass/LawBench/{COMMIT}/"
QUESTIONS, METRIC = "data/zero_shot/3-3.json", "evaluation/evaluation_functions/ljp_accusation.py"
FILES = {
    QUESTIONS: "64378a7d7c3548cbe336d989f50a1301ba531ef53fc97b4dd879fda7e6fec755",
    METRIC: "8640dee887c243eb7bc8c5ae4cab1851fe24e08dad5d1516dcc756e6c1b8d8c7",
}
SPLITS = Path(__file__).parent / "splits.json"
SPLITS_SHA256 = "526be795795b001e0d9ce1e201f97f843035f106d2b9db04a7067f7067edffe6"
SEARCH_SHARE = 0.2
SPLIT_SALT = "lawbench multilabel search split 1"
BEFORE_FACTS, BEFORE_CHARGES = "事实:", "罪名:"


@dataclass(frozen=True)
class Question:
    """One question: the facts of a case, and all charges that were brought."""

    key: str
    """`3-3/<place in the file>`. Never shown to a candidate."""
    text: str
    charges: frozenset[str]


@dataclass(frozen=True)
class LawSets:
    """The task's questions by split, and the cases with one charge each that a candidate may learn from."""

    charges: tuple[str, ...]
    """What may be answered: the 189 charges of the published metric."""
    train: tuple[lawbench.Case, ...]
    search: tuple[Question, ...]
    report: tuple[Question, ...]

    def cases(self, split: Split) -> tuple[Question, ...]:
        """The questions that a split scores."""
        return self.search if split is Split.SEARCH else self.report


def fetch(progress: Progress, address: str = ADDRESS) -> None:
    """Bring both files, and those of `lawbench`, into the cache. Raises UserError."""
    lawbench.fetch(progress)
    for name in FILES:
        _file(name, progress, address)


def missing() -> str | None:
    """None when the files are at hand, else one line that says how to get them."""
    here = all(_own_copy(name) or (_cached(name)).is_file() for name in FILES)
    return lawbench.missing() if here else "not downloaded yet: run `ratchet data fetch lawbench-multilabel`"


def _cached(name: str) -> Path:
    return cache_dir() / "files" / FILES[name][:12] / Path(name).name


def _own_copy(name: str) -> Path | None:
    """The user's copy, `$RATCHET_DATA/lawbench/3-3.json`, when it is there and the right one."""
    folder = os.environ.get("RATCHET_DATA")
    path = Path(folder) / "lawbench" / Path(name).name if folder else None
    if path is None or not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != FILES[name]:
        return None
    return path


def _file(name: str, progress: Progress, address: str = ADDRESS) -> Path:
    return _own_copy(name) or http_file(address + name, FILES[name], Path(name).name, progress)


def read_questions(text: str) -> list[Question]:
    """Questions in LawBench's format: a JSON list of objects with instruction, question and answer. Raises UserError."""
    try:
        rows = json.loads(text)
        found = [
            Question(
                f"3-3/{place}", row["question"].removeprefix(BEFORE_FACTS).strip(),
                frozenset(row["answer"].removeprefix(BEFORE_CHARGES).split(";")),
            )
            for place, row in enumerate(rows)
            if row["instruction"] and row["answer"].startswith(BEFORE_CHARGES)
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"not a LawBench file: {type(error).__name__}: {error}") from error
    if not found or len(found) != len(rows):
        raise UserError(f"not a LawBench file: {len(rows) - len(found)} of {len(rows)} answers lack {BEFORE_CHARGES}")
    return found


def read_charges(program: str) -> tuple[str, ...]:
    """The charges in `option_list` of the published evaluation program, which is only parsed. Raises UserError."""
    for node in ast.parse(program).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "option_list" for t in node.targets
        ):
            return tuple(ast.literal_eval(node.value))
    raise UserError("the evaluation program has no option_list")


def plain(charge: str) -> str:
    """A charge of `lawbench` as the original task writes it: without the brackets around the statute's alternatives."""
    return charge.replace("[", "").replace("]", "")


@lru_cache(maxsize=1)
def published() -> tuple[tuple[str, ...], tuple[Question, ...]]:
    """The charges and all 500 questions, fetched first when they are not there. Raises UserError."""
    quiet = lambda message: None  # noqa: E731
    charges = read_charges(_file(METRIC, quiet).read_text(encoding="utf-8"))
    return charges, tuple(read_questions(_file(QUESTIONS, quiet).read_text(encoding="utf-8")))


@lru_cache(maxsize=1)
def load() -> LawSets:
    """The task's data. No training text is nearly that of a question. Raises UserError."""
    charges, questions = published()
    lists = lawbench.read_splits(SPLITS, SPLITS_SHA256)["3-3"]
    by_key = {question.key: question for question in questions}
    dropped = {f"train/{number}" for number in lists["training left out"]}
    clean = lawbench.load()
    return LawSets(
        charges=charges,
        train=tuple(
            lawbench.Case(case.key, case.text, plain(case.charge))
            for case in (*clean.train, *clean.search)
            if case.key not in dropped and plain(case.charge) in charges
        ),
        search=tuple(by_key[f"3-3/{place}"] for place in lists["search"]),
        report=tuple(by_key[f"3-3/{place}"] for place in lists["report"]),
    )


def divide(questions: Sequence[Question], paired: set[str]) -> tuple[list[int], list[int]]:
    """Places of the search and of the report questions: a fifth of those with one, two and three charges is searched.

    A question in `paired` nearly repeats another one, so it stays in the report split, and its pair with it.
    """
    by_count: dict[int, list[str]] = defaultdict(list)
    for question in questions:
        if question.key not in paired:
            by_count[len(question.charges)].append(question.key)
    searched: set[str] = set()
    for keys in by_count.values():
        keys.sort(key=lambda key: hashlib.sha256(f"{SPLIT_SALT}:{key}".encode()).hexdigest())
        searched.update(keys[: round(len(keys) * SEARCH_SHARE)])
    places = [(int(question.key.split("/")[1]), question.key in searched) for question in questions]
    return [place for place, yes in places if yes], [place for place, yes in places if not yes]


def main(words: Sequence[str]) -> None:
    """Count the questions that nearly repeat a training text or each other; with `--write` write `splits.json`."""
    from benchmarks.lawbench.overlaps import near_pairs

    _, questions = published()
    training = lawbench.published_files().training
    texts = {case.key: case.text for case in training} | {question.key: question.text for question in questions}
    pairs = [pair for pair in near_pairs(texts) if pair.second.startswith("3-3/")]
    seen = sorted({int(pair.first.split("/")[1]) for pair in pairs if pair.first.startswith("train/")})
    twins = {key for pair in pairs if pair.first.startswith("3-3/") for key in (pair.first, pair.second)}
    search, report = divide(questions, twins)
    asked = len({pair.second for pair in pairs if pair.first.startswith("train/")})
    print(f"{asked} questions nearly repeat {len(seen)} training texts; {len(twins)} nearly repeat each other")
    if "--write" in words:
        lists = {"3-3": {"search": search, "report": report, "training left out": seen}}
        write_atomically(SPLITS, json.dumps(lists).replace("], ", "],\n").encode() + b"\n")
        print(f"{SPLITS}: put the hash {lawbench.splits_sha256(SPLITS)} into data.py")


if __name__ == "__main__":
    main(sys.argv[1:])
