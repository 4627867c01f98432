"""Score a harness on charge prediction: which of 191 charges was brought, given the facts of a case."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lawbench import data, predictions
from benchmarks.program import Job, run_program
from benchmarks.task import Bench, Candidate, Direction, Metric, Score, Split, Task, Verdict
from results.stats import wilson
from sandboxes.base import MIB, Limits

TOKENS_PER_CASE = 32
"""The model's budget per case to label, prompts and answers together: 20 to 40 ms of two cores."""
QUICK_CASES = 120
GUEST = Path(__file__).parent / "guest.py"


@dataclass(frozen=True)
class Sheet:
    """The cases of one scoring under the ids and in the order in which the candidate sees them."""

    cases: tuple[tuple[str, data.Case], ...]

    @property
    def ids(self) -> list[str]:
        """The ids shown, in order."""
        return [shown for shown, _ in self.cases]


def sheet(cases: Sequence[data.Case], seed: int) -> Sheet:
    """Shuffle the cases and name them anew, so that neither an id nor a position says which case it is."""
    rng = random.Random(seed)
    order = list(cases)
    rng.shuffle(order)
    names: set[str] = set()
    while len(names) < len(order):
        names.add(f"{rng.getrandbits(48):012x}")
    drawn = sorted(names)
    rng.shuffle(drawn)
    return Sheet(tuple(zip(drawn, order, strict=True)))


def inputs(law: data.LawData, shown: Sheet) -> dict[str, bytes]:
    """What goes into the sandbox: training cases with charges, cases to label without, and the list of charges."""
    train = [{"text": case.text, "charge": case.charge} for case in law.train]
    cases = [{"id": name, "text": case.text} for name, case in shown.cases]
    return {
        "train.jsonl": _lines(train),
        "cases.jsonl": _lines(cases),
        "charges.json": json.dumps(list(law.charges), ensure_ascii=False).encode(),
    }


def _lines(rows: Sequence[Mapping[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def macro_f1(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Mean over the charges that occur in `truth` of F1 = 2·TP / (2·TP + FP + FN). An abstention is a miss only."""
    hits = Counter(t for t, p in zip(truth, predicted, strict=True) if t == p)
    actual, given = Counter(truth), Counter(predicted)
    return sum(2 * hits[charge] / (actual[charge] + given[charge]) for charge in actual) / len(actual)


def score_answers(shown: Sheet, answers: Mapping[str, str]) -> Score:
    """The score of parsed answers: top-1 accuracy with its Wilson interval, one unit a case."""
    units = {case.key: float(answers[name] == case.charge) for name, case in shown.cases}
    right, total = int(sum(units.values())), len(units)
    given = [answers[name] for name in shown.ids]
    return Score(
        verdict=Verdict.OK, value=right / total, interval=wilson(right, total), units=units,
        secondary={
            "macro_f1": macro_f1([case.charge for _, case in shown.cases], given),
            "abstained": given.count("") / total,
            "n": float(total),
        },
    )  # fmt: skip


class LawBench(Task):
    """Say which charge was brought, from the facts of a Chinese criminal case."""

    name = "lawbench"
    title = "Charge prediction on LawBench (191 charges)"
    metric = Metric("top-1 accuracy", "fraction", Direction.UP)
    image = "lawbench"
    limits = Limits(memory_bytes=2048 * MIB, cpus=2.0, wall_s=150.0, file_bytes=256 * MIB, scratch_bytes=384 * MIB,
                    pids=64)  # fmt: skip
    uses_model = True
    fresh_inputs = False

    def missing(self) -> str | None:
        """See `Task.missing`."""
        return data.missing()

    def fetch(self, progress: Callable[[str], None]) -> None:
        """See `Task.fetch`."""
        data.fetch(progress)

    def score(self, candidates: Sequence[Candidate], split: Split, seed: int, bench: Bench) -> list[Score]:
        """See `Task.score`. Units are keyed by the published file's ids, so scores under different seeds pair."""
        law = data.load()
        cases = law.cases(split)
        shown = sheet(data.sample(cases, QUICK_CASES) if bench.quick else cases, seed)
        return [self._score(candidate, law, shown, bench) for candidate in candidates]

    def _score(self, candidate: Candidate, law: data.LawData, shown: Sheet, bench: Bench) -> Score:
        bench.progress(f"{candidate.name}: {len(shown.cases)} cases")
        job = Job(
            image=self.image, limits=self.limits, guest=GUEST, inputs=inputs(law, shown), output="predictions.csv",
            max_output_bytes=predictions.MAX_BYTES, model_tokens=TOKENS_PER_CASE * len(shown.cases),
        )  # fmt: skip
        outcome = run_program(candidate, job, bench)
        verdict, reason = outcome.verdict, outcome.reason
        if outcome.output is not None:
            try:
                score = score_answers(shown, predictions.parse(outcome.output, shown.ids, law.charges))
            except predictions.BadOutput as error:
                score = Score(verdict=Verdict.INVALID, reason=f"predictions.csv: {error}")
        else:
            score = Score(verdict=verdict, reason=reason)
        seen = {"seconds": outcome.seconds, "image": outcome.image, "backend": outcome.backend}
        return score.model_copy(update=seen)


TASK = LawBench()


def as_csv(answers: Mapping[str, str]) -> bytes:
    """Answers in the form that a candidate's file has; for tests and examples."""
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([predictions.HEADER, *answers.items()])
    return file.getvalue().encode()
