"""The seam for feedback agents: told a briefing, they answer with one typed decision. See `search_agent`, `llm_agent`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from feedback.archive import Archive, Try
from feedback.briefing import Briefing
from feedback.budget import Spent
from feedback.decision import Decision, Lever


@dataclass(frozen=True)
class Asked:
    """What the loop wants of an agent."""

    briefing: Briefing
    levers: tuple[Lever, ...]
    """One: the policy has chosen. Several: the agent chooses."""
    width: int
    """Tries at most."""
    seed: tuple[int, ...]
    """Decides all draws of the agent, so that a resumed run goes the same way."""
    best: Try
    adapter: str | None
    """What the task's model wears."""
    archive: Archive
    """For the offline search, which is our own code. A language model is told the briefing, and nothing else."""


@dataclass(frozen=True)
class Answer:
    """A decision and what it cost."""

    decision: Decision | None
    """None: the agent has nothing more to try, or did not give a valid answer in its tries."""
    cost: Spent = field(default_factory=Spent)
    malformed: int = 0
    """Answers that were no decision."""
    why: str = ""
    """Why there is no decision."""
    over: bool = False
    """True when asking again would be in vain: the run ends here."""


class FeedbackAgent(Protocol):
    """Who improves."""

    @property
    def name(self) -> str:
        """How it is called on the command line."""
        ...

    def decide(self, asked: Asked) -> Answer:
        """The next decision. Raises UserError and SandboxError when its model can't be used."""
        ...

    def draft(self, briefing: Briefing, contract: str, seed: Sequence[int]) -> tuple[str | None, Answer]:
        """The meta-agent: a first program from the task's instruction, or None to start from the seed alone."""
        ...
