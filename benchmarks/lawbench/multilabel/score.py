"""Score a harness on the original LawBench charge prediction: all charges of a case, by F1 of sets."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.lawbench import metrics, predictions
from benchmarks.lawbench.multilabel import data, outputs
from benchmarks.lawbench.score import GUEST, OUTPUT, TOKENS_PER_CASE
from benchmarks.lawbench.score import TASK as SINGLE
from benchmarks.lawbench.second import in_other_words
from benchmarks.lawbench.sheet import fresh_names, lines
from benchmarks.lawbench.smoke import smoke
from benchmarks.program import Job, run_program
from benchmarks.task import Bench, Candidate, Direction, Metric, Score, Split, Task, Verdict
from results.stats import bootstrap_mean

QUICK_CASES = 60
Asked = Sequence[tuple[str, data.Question]]


def inputs(charges: Sequence[str], law: data.LawSets, asked: Asked) -> dict[str, bytes]:
    """What goes into the sandbox. Training cases have one charge each: the original task has no training file."""
    return {
        "train.jsonl": lines([{"text": case.text, "charge": case.charge} for case in law.train]),
        "cases.jsonl": lines([{"id": name, "text": question.text} for name, question in asked]),
        "charges.json": json.dumps(list(charges), ensure_ascii=False).encode(),
    }


def score_sets(asked: Asked, answers: Mapping[str, frozenset[str]], charges: Sequence[str]) -> Score:
    """Mean F1 of sets with its bootstrap interval, one unit a question. Beside it: exact sets, and several charges."""
    f1 = {question.key: metrics.set_f1(question.charges, answers[name]) for name, question in asked}
    several = [f1[question.key] for _, question in asked if len(question.charges) > 1]
    known = frozenset(charges)
    return Score(
        verdict=Verdict.OK, value=sum(f1.values()) / len(f1), interval=bootstrap_mean(np.array([*f1.values()])),
        units=f1,
        secondary={
            "exact": sum(question.charges == answers[name] for name, question in asked) / len(f1),
            "abstained": sum(not answers[name] for name, _ in asked) / len(f1),
            # Thirteen charges of the answers are not among those that the published metric knows.
            "best_possible": sum(metrics.set_f1(q.charges, q.charges & known) for _, q in asked) / len(f1),
            "n": float(len(f1)), **({"f1_several": sum(several) / len(several)} if several else {}),
        },
    )  # fmt: skip


class LawBenchMultilabel(Task):
    """Name every charge that was brought, from the facts of a Chinese criminal case."""

    name = "lawbench-multilabel"
    title = "LawBench 3-3, charge prediction with one to three charges (500 questions)"
    metric = Metric("mean set F1", "fraction", Direction.UP)
    image = "lawbench"
    limits = SINGLE.limits
    uses_model = True
    fresh_inputs = False
    optional_data = True
    takes_submissions = True
    other_words: bool = False
    """See `LawBench.other_words`."""

    def missing(self) -> str | None:
        """See `Task.missing`."""
        return data.missing()

    def fetch(self, progress: Callable[[str], None]) -> None:
        """See `Task.fetch`."""
        data.fetch(progress)

    def score(self, candidates: Sequence[Candidate], split: Split, seed: int, bench: Bench) -> list[Score]:
        """See `Task.score`. Units are keyed by the question's place in the published file."""
        law = data.load()
        rng = random.Random(seed)
        known = in_other_words(law.cases(split)) if self.other_words else law.cases(split)
        cases = list(known[:QUICK_CASES] if bench.quick else known)
        rng.shuffle(cases)
        asked = list(zip(fresh_names(len(cases), rng), cases, strict=True))
        given = inputs(law.charges, law, asked)
        return [self._score(candidate, law, asked, given, bench) for candidate in candidates]

    def smoke(self, candidate: Candidate, bench: Bench) -> Score:
        """See `Task.smoke`."""
        return smoke(self, GUEST, OUTPUT, data.load().charges, candidate, bench)

    def second(self) -> Task:
        """See `LawBench.second`."""
        other = copy.copy(self)
        other.other_words = True
        return other

    def _score(
        self, candidate: Candidate, law: data.LawSets, asked: Asked, given: dict[str, bytes], bench: Bench
    ) -> Score:
        bench.progress(f"{candidate.name}: {len(asked)} questions")
        job = Job(
            image=self.image, limits=self.limits, guest=GUEST, inputs=given, output=OUTPUT,
            max_output_bytes=predictions.MAX_BYTES, model_tokens=TOKENS_PER_CASE * len(asked),
        )  # fmt: skip
        outcome = run_program(candidate, job, bench)
        if outcome.output is None:
            score = Score(verdict=outcome.verdict, reason=outcome.reason)
        else:
            try:
                parsed = predictions.parse(outcome.output, [name for name, _ in asked], law.charges)
                answers = {name: frozenset(answer.charges) for name, answer in parsed.items()}
                score = score_sets(asked, answers, law.charges)
            except predictions.BadOutput as error:
                score = Score(verdict=Verdict.INVALID, reason=f"{OUTPUT}: {error}")
        seen = {"seconds": outcome.seconds, "image": outcome.image, "backend": outcome.backend}
        return score.model_copy(update=seen)

    def score_submission(self, file: Path) -> Score:
        """Score a model's outputs to all 500 questions: `.json` as LawBench publishes them, else CSV or JSON lines.

        An id is the question's place in the published file, from 0. Nothing ran: see `LawBench.score_submission`.
        """
        charges, questions = data.published()
        asked = [(question.key.removeprefix("3-3/"), question) for question in questions]
        ids = [name for name, _ in asked]
        try:
            with file.open("rb") as opened:
                if file.suffix == ".json":
                    answers = outputs.parse(opened, ids, charges)
                else:
                    parsed = predictions.parse(opened, ids, charges)
                    answers = {name: frozenset(answer.charges) for name, answer in parsed.items()}
        except predictions.BadOutput as error:
            return Score(verdict=Verdict.INVALID, reason=f"{file.name}: {error}")
        return score_sets(asked, answers, charges)


TASK = LawBenchMultilabel()
