"""The vocabulary of the suite: Task, Split, Candidate, Score, Verdict.

Every other module speaks in these types. They are small, frozen and JSON-able, so that a score can cross a process
boundary, be stored in the archive and be published in a record without a second representation.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from sandboxes.base import Limits, SandboxFactory


class Verdict(StrEnum):
    """What became of a candidate. Exactly one of these; never a bare exception."""

    OK = "ok"
    """The output was parsed, checked and scored."""
    WRONG = "wrong"
    """The output is well-formed but not what the task computes."""
    INVALID = "invalid"
    """The candidate broke the contract: no such function, wrong shape, wrong ids, NaN, too much output."""
    TIMEOUT = "timeout"
    OOM = "oom"
    CRASH = "crash"
    REWARD_HACK = "reward_hack"
    """The candidate tried to earn the score in another way than by doing the work."""


class Stage(StrEnum):
    """How far a new program came in a smoke, cheapest check first."""

    PARSE = "parse"
    IMPORT = "import"
    CONTRACT = "contract"
    """It has the task's function, and that takes the task's arguments."""
    SMOKE = "smoke"
    """It is called on a tiny made-up input, and the form of its answer is looked at."""
    READY = "ready"
    """It passed them all, and may be paid a scoring for."""


class Direction(StrEnum):
    """Which way is better."""

    UP = "up"
    DOWN = "down"


class Split(StrEnum):
    """Which part of a task's data a score is about."""

    SEARCH = "search"
    """What the loop may look at, as often as its budget allows."""
    REPORT = "report"
    """Scored once, at the end, for the record."""


@dataclass(frozen=True)
class Metric:
    """A named quantity with its unit and the direction that is better."""

    name: str
    unit: str
    direction: Direction
    log_units: bool = False
    """True when a score's raw `units` are natural logarithms, so that a paired difference of them is a ratio."""

    def better(self, new: float, old: float) -> bool:
        """True when `new` is strictly better than `old`."""
        return new > old if self.direction is Direction.UP else new < old


class Candidate(BaseModel):
    """One program to be scored, and the adapter that the model wears while it runs.

    The source is untrusted text. It is parsed (never imported) outside a sandbox, and executed only inside one.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    name: str = "candidate"
    weights: str | None = None
    """Content hash of the LoRA adapter; None is the base model."""

    @property
    def sha(self) -> str:
        """Content hash (SHA-256, hex) of source and weights: the candidate's identity in the archive."""
        return hashlib.sha256(f"{self.weights or ''}\0{self.source}".encode()).hexdigest()


class Score(BaseModel):
    """What the evaluator says of a candidate: a verdict, and a number only where the verdict is `ok`."""

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    reason: str = ""
    value: float | None = None
    """The metric's value, in the metric's unit."""
    interval: tuple[float, float] | None = None
    """95 % interval of `value`."""
    units: dict[str, float] = Field(default_factory=dict)
    """Raw values by unit of measurement (a case, a cell, a timed block). Two scores of one task, split and seed are
    paired by these keys."""
    secondary: dict[str, float] = Field(default_factory=dict)
    """Other quantities worth recording; never what a candidate is ranked by."""
    raw: dict[str, list[float]] = Field(default_factory=dict)
    """Series as they were measured, before anything was taken off or averaged."""
    advice: list[str] = Field(default_factory=list)
    """What a reader of the program should look at. Never a reason for the verdict."""
    tables: dict[str, list[dict[str, str | float]]] = Field(default_factory=dict)
    """Breakdowns for a record, by name, as rows (e.g. one a charge); on the report split only, because they tell answers."""
    seconds: float = 0.0
    """Wall time of the whole scoring, in seconds."""
    seed_commitment: str = ""
    """SHA-256 of the secret seed, fixed before the candidate ran."""
    seed_revealed: str = ""
    image: str = ""
    """Digest of the image the candidate ran in."""
    backend: str = ""
    stage: Stage | None = None
    """Set by `Task.smoke` alone: the stage it failed at, or `ready`. The verdict and the words are what they always are."""

    @property
    def ok(self) -> bool:
        """True when the score counts."""
        return self.verdict is Verdict.OK


class ModelGate(Protocol):
    """Opens a Unix socket through which a sandboxed harness reaches the language model."""

    def open(self, *, token_budget: int, label: str, weights: str | None = None) -> AbstractContextManager[Path]:
        """Yield the folder that holds `model.sock`; it stops answering when the context ends.

        The model wears the adapter `weights` (`Candidate.weights`) while it answers there; None is the base model.
        """
        ...


def _no_progress(message: str) -> None:
    return None


@dataclass(frozen=True)
class Bench:
    """What a task has at hand when it scores: where to run untrusted code, and the model."""

    sandboxes: SandboxFactory
    model: ModelGate | None = None
    progress: Callable[[str], None] = field(default=_no_progress)
    quick: bool = False
    """Fewer repeats: for tests and staging, never for a record."""


class Task(ABC):
    """One thing to be good at. A task lives in a folder `benchmarks/**/<name>/` whose `score.py` has a `TASK`."""

    name: str
    title: str
    metric: Metric
    image: str
    """Name of the folder under `sandboxes/images/`."""
    limits: Limits
    uses_model: bool = False
    fresh_inputs: bool = True
    """True when each secret seed makes new inputs, so that two candidates can be compared only under one seed.
    False when the split is a fixed list of cases: then an earlier score stays comparable."""
    floors: ClassVar[dict[str, float]] = {}
    """Secondary quantities that an improvement may not push below the smaller of this floor and the parent's value."""

    @property
    def folder(self) -> Path:
        """Where the task's README, seed and baselines are."""
        import sys

        return Path(str(sys.modules[type(self).__module__].__file__)).parent

    def seed(self) -> Candidate:
        """The weak program that a run starts from."""
        return Candidate(source=(self.folder / "seed" / "harness.py").read_text(), name="seed")

    def baseline(self, name: str) -> Candidate:
        """A known program of `baselines/`, to compare with."""
        return Candidate(source=(self.folder / "baselines" / f"{name}.py").read_text(), name=name)

    optional_data: bool = False
    """True when the data may be out of reach of many machines: only an explicit `ratchet data fetch NAME` gets it."""
    takes_submissions: bool = False
    """True when `score_submission` is there: a file of answers can be scored without a program."""

    def subject(self, unit: str) -> str | None:
        """What a unit was measured on, where several units, of one scoring or of several, are repeats on the same thing and
        so no independent evidence (e.g. thinnings of one cell); None where each unit stands for itself."""
        return None

    def missing(self) -> str | None:
        """None when the task's data is at hand, else one line that says how to get it."""
        return None

    def fetch(self, progress: Callable[[str], None]) -> None:
        """Get the task's data into the cache; nothing to do when it is there. Raises UserError."""

    def score_submission(self, file: Path) -> Score:
        """Score a file of answers to the report split; nothing of it is executed. Only where `takes_submissions`."""
        raise NotImplementedError(f"{self.name} takes no submissions")

    def smoke(self, candidate: Candidate, bench: Bench) -> Score:
        """Try a candidate in a fresh sandbox on a tiny made-up input: does it load, and has its answer the right form?

        The input is drawn from a fixed public law and holds nothing of the task's data. The score has a verdict, a stage
        and a reason, and no value. Never raises for what a candidate did; raises SandboxError for a fault of ours.
        """
        return Score(verdict=Verdict.OK, stage=Stage.READY, reason="this task has no smoke case")

    def second(self) -> Task | None:
        """The same task in another shape, to see whether a gain holds outside the evaluator that it was sought on.

        It is never what a candidate is chosen by, and its units need not be this task's. None where there is none.
        """
        return None

    @abstractmethod
    def score(self, candidates: Sequence[Candidate], split: Split, seed: int, bench: Bench) -> list[Score]:
        """Score candidates on one split under one secret seed, in order, each in a fresh sandbox.

        Never raises for what a candidate did; raises `sandboxes.base.SandboxError` for a fault of ours.
        """
