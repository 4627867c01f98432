"""How a generation is measured: looks at tries beside the best under fresh seeds, a canary, a second evaluator.

Everything is written to the archive as it is measured, so that a run that was killed does not measure it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.evaluator import Evaluator
from benchmarks.kernels.advice import advice
from benchmarks.task import Candidate, Direction, Score, Split, Task
from feedback import gate
from feedback.archive import Archive, Look, Try
from feedback.books import Books
from results.stats import paired_difference

Say = Callable[[str], None]
DRIFT = 3.0
"""Half-widths of the canary's two intervals, added in quadrature, that its value may move before it is said to drift."""
SLOWER = 1.5
"""Times longer than at first that the canary may take."""


@dataclass
class Scoring:
    """Measures one task's tries on the search split."""

    task: Task
    archive: Archive
    evaluator: Evaluator
    books: Books
    quick: bool
    generations: int
    say: Say

    def alone(self, row: Try) -> None:
        """Score a try for the first time, outside any comparison."""

        def commit(committed: str) -> None:
            row.committed = committed
            self.archive.save(row)

        [score] = self._evaluate([row], commit)
        row.score = score.model_dump(mode="json")
        self.archive.save(row)

    def stage(self, number: int, rows: Sequence[Try]) -> None:
        """The cheap checks of programs that nothing is known of, in sandboxes; a failure is its score."""
        waiting = [row for row in rows if not row.stage]
        if not waiting:
            return
        self.say(f"g{number} staging {len(waiting)} programs")
        begun = time.monotonic()
        staged = self.evaluator.stage(self.task.name, [self.archive.candidate(row) for row in waiting])
        for row, found in zip(waiting, staged, strict=True):
            row.stage = found.stage
            if found.stage != "ready":
                row.score = {"verdict": found.verdict.value, "reason": f"staging, {found.stage}: {found.reason}"}
        self.archive.save(*waiting)
        self.books.pay(seconds=time.monotonic() - begun)

    def judged(self, number: int, best: Try, rows: Sequence[Try], canary: Try | None) -> list[gate.Decision]:
        """Decide over the tries of a generation that passed staging, in as many looks as it takes."""
        if not rows:
            return []
        again = self.task.fresh_inputs
        looks = gate.LOOKS if again else 1
        # A draft beside the seed is judged, too, and shares the error.
        generations = self.generations + (len(self.archive.tries(self.task.name, 0)) > 1)
        mine: dict[int, list[Score]] = {row.id: [] for row in rows}
        theirs: dict[int, list[Score]] = {row.id: [] for row in rows}
        decisions: dict[int, gate.Decision] = {}
        open_ = list(rows)
        for look in range(1, looks + 1):
            scores = self._look(number, look, best, open_, canary if look == 1 else None)
            for row in open_:
                mine[row.id].append(scores[str(row.id)])
                theirs[row.id].append(scores["best"])
                if look == 1:
                    row.score = scores[str(row.id)].model_dump(mode="json")
                decisions[row.id] = gate.judge(
                    self.task, mine[row.id], theirs[row.id], tries=len(rows), generations=generations, looks=looks
                )
            self.archive.save(*rows)
            open_ = [row for row in open_ if decisions[row.id].undecided]
            if not open_ or any(d.kept for d in decisions.values()):
                break
            done_before = len(self.archive.looks(self.task.name, number)) > look  # by a sitting that was killed
            if not done_before and self.books.left().candidates < self.books.beside + len(open_):
                break
        return [decisions[row.id] for row in rows]

    def _look(self, number: int, look: int, best: Try, rows: Sequence[Try], canary: Try | None) -> dict[str, Score]:
        """Scores by the try's id, with `best` and `canary` among them, all under one seed where inputs are fresh."""
        row = {k.number: k for k in self.archive.looks(self.task.name, number)}.get(look)
        row = row or Look(task=self.task.name, generation=number, number=look, committed="", scores={})
        if row.scores:
            return {key: Score.model_validate(value) for key, value in row.scores.items()}
        wanted: dict[str, Try] = {str(r.id): r for r in rows}
        if canary is not None:
            wanted["canary"] = canary
        known: dict[str, Score] = {}
        if self.task.fresh_inputs:
            wanted = {"best": best, **wanted}
        else:  # a fixed list of cases: the best's own score is as good as new
            assert best.scored is not None
            known["best"] = best.scored
        what = f"look {look}: " if look > 1 else ""
        self.say(f"g{number} {what}scoring {len(rows)} tries" + (" beside the best" if "best" in wanted else ""))

        def commit(committed: str) -> None:
            row.committed = committed
            for r in rows:
                r.committed = r.committed or committed
            self.archive.save(row, *rows)

        scores = dict(zip(wanted, self._evaluate(list(wanted.values()), commit), strict=True))
        if "best" in scores and not scores["best"].ok:
            # The best failed this time: nothing can be compared under this seed, and nothing replaces it.
            self.say(f"g{number} the best program failed this time: {scores['best'].verdict.value}")
        found = known | scores
        row.scores = {key: score.model_dump(mode="json") for key, score in found.items()}
        self.archive.save(row)
        return found

    def canary(self, number: int, first: Try) -> dict[str, Any] | None:
        """What the canary says of the machine, once its score of this generation is there."""
        looks = self.archive.looks(self.task.name, number)
        if not looks or "canary" not in looks[0].scores or first.scored is None:
            return None
        now, then = Score.model_validate(looks[0].scores["canary"]), first.scored
        found: dict[str, Any] = {"verdict": now.verdict.value, "value": now.value, "seconds": now.seconds, "drift": ""}
        if not now.ok or now.value is None or then.value is None or now.interval is None or then.interval is None:
            found["drift"] = f"a program that was ok is {now.verdict.value} now: {now.reason}"
            return found
        halves = [(high - low) / 2 for low, high in (now.interval, then.interval)]
        width = (halves[0] ** 2 + halves[1] ** 2) ** 0.5
        found["moved"] = abs(now.value - then.value) / width if width else 0.0
        found["slower"] = now.seconds / then.seconds if then.seconds else 1.0
        if found["moved"] > DRIFT or (not self.task.fresh_inputs and now.value != then.value):
            found["drift"] = f"the canary scored {now.value:.4g}, and {then.value:.4g} at first"
        elif found["slower"] > SLOWER:
            found["drift"] = f"the canary took {found['slower']:.1f} times as long as at first"
        return found

    def second(self, new: Try, old: Try, gain: float) -> dict[str, Any]:
        """What the task's second evaluator says of a step from `old` to `new` that gained `gain` by the first.

        Also the static advice that the new program got and the old one did not.
        """
        candidates = [self.archive.candidate(t) for t in (new, old)]
        said = sorted(_advised(candidates[0].source) - _advised(candidates[1].source))
        if self.task.second() is None:
            return {"new_advice": said}
        self.say(f"g{new.generation} second evaluator: the new best against the old one")
        begun = time.monotonic()
        ours, theirs = self.evaluator.evaluate(self.task.name, candidates, Split.SEARCH, quick=self.quick, second=True)
        self.books.pay(2, time.monotonic() - begun)
        if not (ours.ok and theirs.ok):
            bad = ours if not ours.ok else theirs
            return {"new_advice": said, "failed": f"{bad.verdict.value}: {bad.reason}", "first_gain": gain}
        sign = 1.0 if self.task.metric.direction is Direction.UP else -1.0
        mean, interval = paired_difference(ours.units, theirs.units)
        low, high = sorted(sign * bound for bound in interval)
        return {"new_advice": said, "first_gain": gain, "second_gain": sign * mean, "low": low, "high": high,
                "distance": gain - sign * mean}  # fmt: skip

    def _evaluate(self, rows: Sequence[Try], commit: Say) -> list[Score]:
        begun = time.monotonic()
        candidates: list[Candidate] = [self.archive.candidate(row) for row in rows]
        scores = self.evaluator.evaluate(self.task.name, candidates, Split.SEARCH, quick=self.quick, on_commit=commit)
        self.books.pay(len(rows), time.monotonic() - begun)
        return scores


def vetoed(watched: Mapping[str, Any]) -> str:
    """Why a step may not be kept, though the gate found it better, or "": the second evaluator fails it or sees a sure loss."""
    if watched.get("failed"):
        return f"refused by the second evaluator: {watched['failed']}"
    if watched.get("high") is not None and watched["high"] < 0:
        return (
            f"a gain of {watched['first_gain']:.3g} for the first evaluator is a loss of {watched['second_gain']:.3g} "
            f"[{watched['low']:.3g}, {watched['high']:.3g}] for the second"
        )
    return ""


def watch_stop(watched: Sequence[Mapping[str, Any]]) -> str:
    """Why a run must not go on after these steps, oldest first, or "": two in a row that only the first evaluator calls gains."""
    pair = [w for w in watched if w.get("failed") or w.get("second_gain") is not None][-2:]
    if len(pair) == 2 and all(w.get("failed") or w["second_gain"] <= 0 for w in pair):
        return "two steps in a row that the first evaluator calls gains are none for the second: the search fits the scorer"
    return ""


def _advised(source: str) -> set[str]:
    """What a reader should look at, without the line where it stands."""
    return {line.partition(": ")[2] for line in advice(source)}
