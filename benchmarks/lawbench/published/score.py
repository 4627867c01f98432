"""`lawbench` as it is published: all 913 test cases, the whole training file, repeats and overlaps included."""

from __future__ import annotations

from benchmarks.lawbench import data
from benchmarks.lawbench.score import TASK as CLEAN
from benchmarks.lawbench.score import LawBench
from benchmarks.task import Candidate


class LawBenchPublished(LawBench):
    """Charge prediction on the files as they are, so that numbers compare with those of others."""

    name = "lawbench-published"
    title = "Charge prediction on LawBench as published (all 913 test cases)"

    def law(self) -> data.LawData:
        """See `LawBench.law`."""
        return data.load_as_published()

    def seed(self) -> Candidate:
        """The seed of `lawbench`: the two differ in cases only."""
        return CLEAN.seed()

    def baseline(self, name: str) -> Candidate:
        """A baseline of `lawbench`."""
        return CLEAN.baseline(name)


TASK = LawBenchPublished()
