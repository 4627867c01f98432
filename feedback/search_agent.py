"""The offline feedback agent: a search over moves, values and crossovers of the archive. No language model is needed.

With a guide, which is the task's own model wearing the adapter that the weights lever trained, the order in which single
options are tried is drawn from the guide's probabilities; that is how what one lever learned reaches the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from agents.edits import EditError
from benchmarks.task import Candidate, Task
from feedback.agent import Answer, Asked
from feedback.archive import Archive, Try
from feedback.briefing import Briefing
from feedback.decision import Decision, HarnessEdit, Lever, Moves, Setting, TrainingWish, applied
from feedback.levers import Bandit, Pull
from feedback.moves import Move, edits_for, moves_for
from feedback.selection import parent
from training.actions import menu

Guide = Callable[[str | None, str, Sequence[str]], Mapping[str, float] | None]
"""Adapter, program, and the moves that led to it -> log-probability of each option of its menu; None without an adapter."""


def no_guide(adapter: str | None, source: str, done: Sequence[str]) -> Mapping[str, float] | None:
    """The search without a trained model."""
    return None


@dataclass(frozen=True)
class Search:
    """Proposes, in this order, until the width is filled:

    - crossover: the moves of programs that gained but lost to another, joined on the best
    - single moves not yet tried on the best, and single values; in the guide's order, else moves first, in library order
    - with three tries or more the last one is made on another member of the archive, chosen by score and novelty
    """

    task: Task
    wish: TrainingWish = field(default_factory=TrainingWish)
    guide: Guide = no_guide
    name: str = "search"

    def decide(self, asked: Asked) -> Answer:
        """See `FeedbackAgent.decide`. Where it may choose the lever, it chooses by the bandit."""
        if len(asked.levers) > 1:
            choice = Bandit().choose(pulls_of(asked.archive, self.task.name), asked.seed)
            lever, why = choice.lever or Lever.HARNESS, choice.why
        else:
            lever, why = asked.levers[0], "the policy's lever"
        if lever is Lever.WEIGHTS:
            return Answer(Decision(lever=lever, reason=why, training=self.wish))
        edits, reason = self._edits(asked)
        if not edits:
            return Answer(None, why="every option was tried on every member of the archive", over=True)
        return Answer(Decision(lever=lever, reason=reason, edits=tuple(edits)))

    def draft(self, briefing: Briefing, contract: str, seed: Sequence[int]) -> tuple[str | None, Answer]:
        """The search starts from the seed."""
        return None, Answer(None)

    def _edits(self, asked: Asked) -> tuple[list[HarnessEdit], str]:
        archive, best = asked.archive, asked.best
        history = archive.tries(self.task.name)
        library: dict[str, Move] = {m.name: m for m in moves_for(self.task.name)}
        seen = {t.sha for t in history}
        found: list[HarnessEdit] = []
        sources: dict[str, str] = {}

        def offer(edit: Moves | Setting, on: Try) -> bool:
            source = archive.candidate(on).source
            try:
                made = applied(edit, source, dict(library))
            except EditError:
                return False
            sha = Candidate(source=made, weights=on.weights).sha
            if sha in seen or made in sources:
                return False
            seen.add(sha)
            sources[made] = sha
            found.append(HarnessEdit(edit=edit, parent=None if on is best else on.sha))
            return True

        joined = joined_moves(history, best, library)
        if joined:
            offer(Moves(names=tuple(joined)), best)
        elsewhere = asked.width >= 3
        self._singles(asked, best, library, history, offer, lambda: len(found) >= asked.width - elsewhere)
        if elsewhere and len(found) < asked.width:
            other = parent(self.task, best, history, lambda t: archive.candidate(t).source, asked.seed)
            if other is not None:
                full = len(found)
                self._singles(asked, other, library, history, offer, lambda: len(found) > full)
        if len(found) < asked.width:
            self._singles(asked, best, library, history, offer, lambda: len(found) >= asked.width)
        reason = "moves that gained before, joined; then single options" if joined else "single options not tried yet"
        return found, reason

    def _singles(
        self, asked: Asked, on: Try, library: Mapping[str, Move], history: Sequence[Try],
        offer: Callable[[Moves | Setting, Try], bool], full: Callable[[], bool],
    ) -> None:  # fmt: skip
        source = asked.archive.candidate(on).source
        options = list(menu(source, edits_for(self.task.name)))
        guided = self.guide(asked.adapter, source, asked.archive.lineage(on))
        for text in _order(options, list(library), history, guided, asked.seed):
            if full():
                return
            try:
                edit = edit_of(text, library)
            except ValueError:  # a value that no setting may have
                continue
            offer(edit, on)


def _order(
    options: Sequence[str], library: Sequence[str], history: Sequence[Try], guided: Mapping[str, float] | None,
    seed: Sequence[int],
) -> list[str]:  # fmt: skip
    """Options in the order in which they are tried."""
    if guided is not None:
        # Gumbel's trick: sorting by log p + noise draws without replacement with the guide's probabilities.
        noise = np.random.default_rng([*seed, 11]).gumbel(size=len(options))
        return [o for _, o in sorted(zip([-(guided.get(o, -50.0) + g) for o, g in zip(options, noise, strict=True)], options, strict=True))]  # fmt: skip
    gains = {o: max((t.gain or 0.0 for t in history if t.moves == [o]), default=None) for o in options}
    fresh = [o for o in options if gains[o] is None]
    again = sorted((o for o in options if gains[o] is not None), key=lambda o: -(gains[o] or 0.0))
    moves = [o for o in fresh if o in library]
    return (
        moves
        + [o for o in again if o in library]
        + [o for o in fresh if o not in library]
        + [o for o in again if o not in library]
    )


def edit_of(text: str, library: Mapping[str, Move]) -> Moves | Setting:
    """An option of the menu as an edit."""
    if text in library:
        return Moves(names=(text,))
    name, _, value = text.partition(" = ")
    return Setting(name=name, value=float(value) if "." in value or "e" in value else int(value))


def joined_moves(history: Sequence[Try], best: Try, library: Mapping[str, object]) -> list[str]:
    """Crossover: the moves of the last generation's programs that gained but were not kept, the largest gain first."""
    last = max((t.generation for t in history), default=0)
    gainers = [t for t in history if t.generation == last and (t.gain_low or 0) > 0 and t.id != best.id]
    gainers.sort(key=lambda t: -(t.gain or 0))
    return list(dict.fromkeys(n for t in gainers for n in t.moves if n in library))


def pulls_of(archive: Archive, task: str) -> list[Pull]:
    """What the levers did in a run's finished generations."""
    return [
        Pull(Lever(g.lever), g.gain, float(str(g.cost.get("seconds", 0.0))))
        for g in archive.generations(task)
        if g.best is not None and g.lever in set(Lever)
    ]
