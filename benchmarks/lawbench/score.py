"""Score a harness on charge prediction: which of 191 charges was brought, given the facts of a case."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.lawbench import data, predictions
from benchmarks.lawbench.second import in_other_words
from benchmarks.lawbench.sheet import Sheet, inputs, score_answers, sheet
from benchmarks.lawbench.smoke import smoke
from benchmarks.program import Job, run_program
from benchmarks.task import Bench, Candidate, Direction, Metric, Score, Split, Task, Verdict
from sandboxes.base import MIB, Limits

TOKENS_PER_CASE = 160
"""The model's budget per case to label, prompts and answers together: 0.1 to 0.2 s of two cores."""
QUICK_CASES = 120
OUTPUT = "predictions.jsonl"
GUEST = Path(__file__).parent / "guest.py"


class LawBench(Task):
    """Say which charge was brought, from the facts of a Chinese criminal case."""

    name = "lawbench"
    title = "Charge prediction on LawBench (191 charges), repeats and overlaps left out"
    metric = Metric("top-1 accuracy", "fraction", Direction.UP)
    image = "lawbench"
    limits = Limits(memory_bytes=3072 * MIB, cpus=2.0, wall_s=600.0, file_bytes=256 * MIB, scratch_bytes=384 * MIB,
                    pids=64)  # fmt: skip
    uses_model = True
    fresh_inputs = False
    takes_submissions = True
    other_words: bool = False
    """True for the second evaluator: fewer cases, with names and figures masked."""

    def law(self) -> data.LawData:
        """The task's cases by split."""
        return data.load()

    def missing(self) -> str | None:
        """See `Task.missing`."""
        return data.missing()

    def fetch(self, progress: Callable[[str], None]) -> None:
        """See `Task.fetch`."""
        data.fetch(progress)

    def score(self, candidates: Sequence[Candidate], split: Split, seed: int, bench: Bench) -> list[Score]:
        """See `Task.score`. Units are keyed by the published file's ids, so scores under different seeds pair."""
        law = self.law()
        cases = in_other_words(law.cases(split)) if self.other_words else law.cases(split)
        shown = sheet(data.sample(cases, QUICK_CASES) if bench.quick else cases, seed)
        given = inputs(law.charges, law.shown(split), shown)
        return [self._score(candidate, law, shown, given, split, bench) for candidate in candidates]

    def smoke(self, candidate: Candidate, bench: Bench) -> Score:
        """See `Task.smoke`."""
        return smoke(self, GUEST, OUTPUT, self.law().charges, candidate, bench)

    def second(self) -> Task:
        """Seven in ten of the same cases, with names and figures masked."""
        other = copy.copy(self)
        other.other_words = True
        return other

    def _score(
        self, candidate: Candidate, law: data.LawData, shown: Sheet, given: dict[str, bytes], split: Split, bench: Bench
    ) -> Score:
        bench.progress(f"{candidate.name}: {len(shown.cases)} cases")
        job = Job(
            image=self.image, limits=self.limits, guest=GUEST, inputs=given, output=OUTPUT,
            max_output_bytes=predictions.MAX_BYTES, model_tokens=TOKENS_PER_CASE * len(shown.cases),
        )  # fmt: skip
        outcome = run_program(candidate, job, bench)
        if outcome.output is None:
            score = Score(verdict=outcome.verdict, reason=outcome.reason)
        else:
            try:
                answers = predictions.parse(outcome.output, shown.ids, law.charges)
                score = score_answers(shown, answers, tables=split is Split.REPORT)
            except predictions.BadOutput as error:
                score = Score(verdict=Verdict.INVALID, reason=f"{OUTPUT}: {error}")
        seen = {"seconds": outcome.seconds, "image": outcome.image, "backend": outcome.backend}
        return score.model_copy(update=seen)

    def score_submission(self, file: Path) -> Score:
        """Score a file of answers under the ids of the published test file. Cases left out may be in it, and don't count.

        Nothing ran, so the score says how good the answers are and not how they were made: their labels are public.
        """
        law = self.law()
        shown = Sheet(tuple((case.key.removeprefix("test/"), case) for case in law.report))
        spare = [case.key.removeprefix("test/") for case in law.left_out if case.key.startswith("test/")]
        try:
            with file.open("rb") as opened:
                answers = predictions.parse(opened, shown.ids, law.charges, ignored=spare)
        except predictions.BadOutput as error:
            return Score(verdict=Verdict.INVALID, reason=f"{file.name}: {error}")
        return score_answers(shown, answers, tables=True)


TASK = LawBench()
