"""Who proposes the next tries. The seam for every feedback agent, and the baseline that needs no language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.edits import EditError
from benchmarks.task import Candidate
from feedback.archive import Try
from feedback.moves import Move, moves_for


@dataclass(frozen=True)
class Proposal:
    """One try to make: the changed program, the lever that was pulled, and what was done to the parent."""

    candidate: Candidate
    lever: str
    moves: tuple[str, ...]


class Proposer(Protocol):
    """Looks at what was tried and says what to try next. It never sees data, answers or the report split."""

    name: str

    def propose(self, task: str, best: Candidate, history: Sequence[Try], width: int) -> list[Proposal]:
        """At most `width` programs that were not tried before. An empty list ends the search."""
        ...


class MoveSearch:
    """Baseline proposer: a search over the code moves of a task (`feedback/moves/`).

    Each generation first joins those moves that were better on their own in the last one but lost to another
    (they may add up), then takes moves not yet tried, in the order of the library, then those that gained most before,
    because a move that was of no use at first may be of use on top of another.
    """

    name = "move-search"

    def propose(self, task: str, best: Candidate, history: Sequence[Try], width: int) -> list[Proposal]:
        """See `Proposer.propose`."""
        library = {m.name: m for m in moves_for(task)}
        seen = {t.sha for t in history} | {best.sha}
        proposals: list[Proposal] = []
        for names in self._orders(list(library), history):
            candidate = _apply(best, [library[n] for n in names])
            if candidate is not None and candidate.sha not in seen:
                seen.add(candidate.sha)
                proposals.append(Proposal(candidate, "harness", tuple(names)))
            if len(proposals) == width:
                break
        return proposals

    def _orders(self, library: list[str], history: Sequence[Try]) -> list[list[str]]:
        """Sets of moves to put on the best program, the most promising first."""
        last = max((t.generation for t in history), default=0)
        gainers = sorted(
            (t for t in history if t.generation == last and (t.gain_low or 0) > 0), key=lambda t: -(t.gain or 0)
        )
        joined = list(dict.fromkeys(n for t in gainers[1:] for n in t.moves if n in library))
        gains = {n: max((t.gain or 0.0 for t in history if t.moves == [n]), default=None) for n in library}
        fresh = [n for n in library if gains[n] is None]
        again = sorted((n for n in library if gains[n] is not None), key=lambda n: -(gains[n] or 0.0))
        orders = [joined] if joined else []
        return orders + [[n] for n in fresh] + [[n] for n in again]


def _apply(parent: Candidate, moves: Sequence[Move]) -> Candidate | None:
    """The parent with the moves that fit applied in turn; None when none of them changes it."""
    source = parent.source
    for move in moves:
        try:
            source = move.edit(source)
        except EditError:
            continue
    if source == parent.source:
        return None
    return Candidate(source=source, weights=parent.weights, name="+".join(m.name for m in moves))
