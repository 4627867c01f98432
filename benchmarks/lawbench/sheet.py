"""One scoring's question sheet: what the candidate is shown, and how its answers are turned into a score."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.lawbench import metrics
from benchmarks.lawbench.data import Case
from benchmarks.lawbench.predictions import Answer
from benchmarks.task import Score, Verdict
from results.stats import wilson


@dataclass(frozen=True)
class Sheet:
    """The cases of one scoring under the ids and in the order in which the candidate sees them."""

    cases: tuple[tuple[str, Case], ...]

    @property
    def ids(self) -> list[str]:
        """The ids shown, in order."""
        return [shown for shown, _ in self.cases]


def sheet(cases: Sequence[Case], seed: int) -> Sheet:
    """Shuffle the cases and name them anew, so that neither an id nor a position says which case it is."""
    rng = random.Random(seed)
    order = list(cases)
    rng.shuffle(order)
    return Sheet(tuple(zip(fresh_names(len(order), rng), order, strict=True)))


def fresh_names(count: int, rng: random.Random) -> list[str]:
    """That many different names of 12 hexadecimal digits, in random order."""
    names: set[str] = set()
    while len(names) < count:
        names.add(f"{rng.getrandbits(48):012x}")
    drawn = sorted(names)
    rng.shuffle(drawn)
    return drawn


def inputs(charges: Sequence[str], train: Sequence[Case], shown: Sheet) -> dict[str, bytes]:
    """What goes into the sandbox: training cases with charges, cases to label without, and the list of charges."""
    return {
        "train.jsonl": lines([{"text": case.text, "charge": case.charge} for case in train]),
        "cases.jsonl": lines([{"id": name, "text": case.text} for name, case in shown.cases]),
        "charges.json": json.dumps(list(charges), ensure_ascii=False).encode(),
    }


def lines(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Rows as JSON lines, UTF-8."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_lines(answers: Mapping[str, Answer]) -> bytes:
    """Answers in the form that a file of them has."""
    rows: list[dict[str, object]] = []
    for case, answer in answers.items():
        row: dict[str, object] = {"id": case, "charges": list(answer.charges)}
        if answer.probabilities is not None:
            row["probabilities"] = list(answer.probabilities)
        rows.append(row)
    return lines(rows)


def score_answers(shown: Sheet, answers: Mapping[str, Answer], *, tables: bool) -> Score:
    """The score of parsed answers: top-1 accuracy with its Wilson interval, one unit a case.

    Beside it: macro-F1, abstentions, top-5 accuracy when an answer has ranks, calibration error when there are
    probabilities. `tables` adds the rows by charge and by confusion, which tell something of the answers.
    """
    units = {case.key: float(answers[name].first == case.charge) for name, case in shown.cases}
    right, total = int(sum(units.values())), len(units)
    truth, given = [case.charge for _, case in shown.cases], [answers[name] for name in shown.ids]
    first = [answer.first for answer in given]
    secondary = {"macro_f1": metrics.macro_f1(truth, first), "abstained": first.count("") / total, "n": float(total)}
    if any(len(answer.charges) > 1 for answer in given):
        secondary["top5"] = metrics.top_k(truth, [answer.charges for answer in given], 5)
    made: dict[str, list[metrics.Row]] = {}
    if tables:
        made = {"charges": metrics.by_charge(truth, first), "confusions": metrics.confusions(truth, first)}
    sure = [(a.first == t, a.probabilities[0]) for t, a in zip(truth, given, strict=True) if a.probabilities]
    if sure:
        hits, confidence = [hit for hit, _ in sure], [p for _, p in sure]
        secondary["ece"] = metrics.calibration_error(hits, confidence)
        if tables:
            made["reliability"] = metrics.reliability(hits, confidence)
    return Score(
        verdict=Verdict.OK, value=right / total, interval=wilson(right, total), units=units, secondary=secondary,
        tables=made,
    )  # fmt: skip
