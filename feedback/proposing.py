"""How a generation is opened: a lever is chosen, the agent decides, and its decision becomes tries.

An edit makes a try at once. A training request makes an adapter first, and its tries are what the training found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.edits import EditError
from benchmarks.task import Candidate, Task
from feedback.agent import Asked, FeedbackAgent
from feedback.archive import Archive, Generation, Try
from feedback.books import Books
from feedback.briefing import Briefing, brief, name_of, printable
from feedback.budget import Spent
from feedback.decision import Decision, HarnessEdit, Lever, applied, named
from feedback.levers import LeverPolicy
from feedback.moves import moves_for
from feedback.search_agent import pulls_of
from feedback.weights import WeightsLever
from training.actions import Place

MAX_WHY = 600
"""Characters kept of why a lever was pulled."""


@dataclass(frozen=True)
class Proposing:
    """Opens generations of one task's run."""

    task: Task
    archive: Archive
    agent: FeedbackAgent
    levers: LeverPolicy
    weights: WeightsLever | None
    books: Books
    width: int
    seed: int
    say: Callable[[str], None]

    def opened(self, number: int, best: Try) -> Generation:
        """The generation with its lever and decision, and, for the harness, its tries; made once."""
        found = [g for g in self.archive.generations(self.task.name) if g.number == number]
        if found:
            return found[0]
        before, begun, seed = self.books.spent(), time.monotonic(), (self.seed, number)
        choice = self.levers.choose(pulls_of(self.archive, self.task.name), seed)
        allowed = self.levers.levers if choice.lever is None else (choice.lever,)
        width = max(1, int(min(self.width, self.books.left().candidates - self.books.beside)))
        answer = self.agent.decide(Asked(self.told(best), allowed, width, seed, best, self._adapter(), self.archive))
        decision = answer.decision
        lever = decision.lever if decision else (choice.lever or Lever.HARNESS)
        rows, refused = self._edited(decision, best, number) if decision else ([], [])
        evidence: dict[str, object] = {
            "policy": self.levers.name, "alternatives": [a.value for a in self.levers.levers],
            "evidence": dict(choice.evidence), "refused": refused, "spent_before": asdict(before),
        }  # fmt: skip
        row = Generation(
            task=self.task.name, number=number, lever=lever.value, evidence=evidence, adapter=self._adapter(),
            why=printable(f"{choice.why}; {decision.reason if decision else answer.why}", MAX_WHY),
            decision=decision.model_dump(mode="json") if decision else None, best=None, gain=0.0, canary=None, watch=None,
            cost={},
        )  # fmt: skip
        self.books.count(answer, refused=len(refused))
        self.books.pay(seconds=time.monotonic() - begun)
        self.archive.propose(rows, row)
        self.say(f"g{number} lever: {lever.value} ({row.why})")
        for line in refused:
            self.say(f"g{number} refused: {line}")
        if decision is None and answer.over:
            self.books.stop(answer.why)
        return row

    def drafted(self, seed: Try) -> None:
        """Ask the meta-agent for a first program beside the seed, once."""
        if len(self.archive.tries(self.task.name, 0)) > 1:
            return
        begun, program = time.monotonic(), self.archive.candidate(seed)
        contract = f"It must define what this program defines, with the same arguments:\n```python\n{program.source}```"
        source, answer = self.agent.draft(self.told(seed), contract, (self.seed, 0))
        self.books.count(answer)
        self.books.pay(seconds=time.monotonic() - begun)
        made = Candidate(source=source or program.source, name="draft")
        if made.sha != seed.sha:
            self.archive.propose([(new_row(self.task, made, 0, 1, seed.id, "harness", ("draft",)), made)])
        if answer.over:
            self.books.stop(answer.why)
        if answer.why:
            self.say(f"g0 {answer.why}")

    def trained(self, row: Generation, best: Try) -> list[Try]:
        """Train, keep the adapter, and propose what came of it."""
        wish = Decision.model_validate(row.decision).training if row.decision else None
        if self.weights is None or wish is None:
            return []
        begun = time.monotonic()
        request = self.weights.request(
            wish, self.books.left(), row.adapter, judging=self.books.beside + (3 if self.task.uses_model else 1),
            seed=1000 * self.seed + row.number,
        )  # fmt: skip
        if request is None:
            self.books.stop("what is left of the budget is not enough for a round of training and its judging")
            return []
        folder = self.archive.folder / "training" / self.task.name / f"{row.number:03d}"
        source, lineage = self.archive.candidate(best).source, tuple(self.archive.lineage(best))
        done = self.weights.train(
            request, Place(source, lineage), row.adapter, folder,
            lambda text: self.say(f"g{row.number} training: {text}"),
        )  # fmt: skip
        row.adapter = done.adapter
        rewards = [round(r.reward, 3) for r in done.rounds]
        ended = done.stopped or (f"no more {done.exhausted} in its budget" if done.exhausted else "")
        self.say(f"g{row.number} trained for {len(done.rounds)} rounds, mean rewards {rewards} {ended}")
        row.evidence = {**row.evidence, "training": {
            "rewards": rewards, "entropy": [r.entropy for r in done.rounds], "valid": [r.valid for r in done.rounds],
            "candidates": done.candidates, "seconds": done.seconds, "ended": ended,
        }}  # fmt: skip
        new = done.best.done[len(lineage) :]
        rows = self._distinct(row.number, best, [(done.best.source, best.weights, new), *(
            # The same model answers the harness's own questions: does it do that better now?
            [(source, done.adapter, ("adapter",)), (done.best.source, done.adapter, (*new, "adapter"))]
            if self.task.uses_model and done.adapter else []
        )])  # fmt: skip
        # In one transaction, so that a kill neither forgets what training cost nor counts it twice. A sitting before a kill
        # was not timed here; the rounds' own seconds are those of all sittings.
        seconds = max(time.monotonic() - begun, done.seconds)
        self.archive.propose(rows, row, self.archive.costing(self.task.name, Spent(done.candidates, seconds)))
        return [tried for tried, _ in rows]

    def told(self, best: Try) -> Briefing:
        """What the agent may see now."""
        trained = [g for g in self.archive.generations(self.task.name) if "training" in g.evidence]
        weights: dict[str, object] = (
            {"adapter": trained[-1].adapter, "rounds": [g.evidence["training"] for g in trained]} if trained else {}
        )
        trace: Path = self.archive.folder / "trace" / "model.jsonl"
        return brief(self.task, self.archive, best, left=self.books.left(), weights=weights, trace=trace)

    def _edited(self, decision: Decision, best: Try, number: int) -> tuple[list[tuple[Try, Candidate]], list[str]]:
        """The tries that a decision's edits make, and why others make none."""
        history = self.archive.tries(self.task.name)
        seen, library = {t.sha for t in history}, {m.name: m for m in moves_for(self.task.name)}
        rows: list[tuple[Try, Candidate]] = []
        refused: list[str] = []
        for wanted in decision.edits:
            names = named(wanted.edit)
            try:
                parent = _parent(wanted, best, history)
                source = applied(wanted.edit, self.archive.candidate(parent).source, dict(library))
            except EditError as error:
                refused.append(printable(f"{'+'.join(names)}: {error}", 300))
                continue
            made = Candidate(source=source, weights=parent.weights, name="+".join(names))
            if made.sha in seen:
                refused.append(f"{'+'.join(names)}: tried before")
                continue
            seen.add(made.sha)
            rows.append((new_row(self.task, made, number, len(rows), parent.id, "harness", names), made))
        return rows, refused

    def _distinct(
        self, number: int, best: Try, programs: Sequence[tuple[str, str | None, tuple[str, ...]]]
    ) -> list[tuple[Try, Candidate]]:
        """Tries of programs (source, adapter, moves) that are not in the archive yet."""
        seen = {t.sha for t in self.archive.tries(self.task.name)}
        rows: list[tuple[Try, Candidate]] = []
        for source, adapter, names in programs:
            made = Candidate(source=source, weights=adapter, name="+".join(names) or "trained")
            if made.sha not in seen:
                seen.add(made.sha)
                rows.append((new_row(self.task, made, number, len(rows), best.id, "weights", names), made))
        return rows

    def _adapter(self) -> str | None:
        """The adapter after the last finished generation."""
        done = [g for g in self.archive.generations(self.task.name) if g.best is not None]
        return done[-1].adapter if done else None


def new_row(
    task: Task, made: Candidate, generation: int, number: int, parent: int | None, lever: str, moves: Sequence[str]
) -> Try:
    """A try that was not staged or scored yet."""
    return Try(task=task.name, generation=generation, number=number, sha=made.sha, weights=made.weights, parent=parent,
               lever=lever, moves=list(moves), committed="", stage="", why="")  # fmt: skip


def _parent(wanted: HarnessEdit, best: Try, history: Sequence[Try]) -> Try:
    """The program that an edit is made on. Raises EditError."""
    if wanted.parent is None:
        return best
    found = [t for t in history if t.sha.startswith(wanted.parent) or name_of(t) == wanted.parent]
    if not wanted.parent or not found:
        raise EditError(f"no program {wanted.parent!r} in the archive")
    return found[0]
