"""Staging: whether new programs load and answer in the right form, cheapest check first, before a scoring is paid for.

Everything happens in a sandbox (`Task.smoke`), on inputs that are made up. Nothing here says what a program is worth.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from benchmarks.program import Outcome
from benchmarks.task import Bench, Candidate, Score, Stage, Task, Verdict

SMOKE_SEED = 20_261_123
"""Of every made-up input. Public: there is nothing to win here, so nothing to hide."""


class Staged(BaseModel):
    """How far one candidate came."""

    model_config = ConfigDict(frozen=True)

    sha: str
    """`Candidate.sha`."""
    stage: Stage
    """The one that it failed at, or `ready`."""
    verdict: Verdict
    reason: str = ""
    """Why, beginning with the stage; untrusted words in it are bounded and printable. Empty for what is ready."""
    seconds: float = 0.0
    """Wall time, with the sandbox's start."""

    @property
    def ready(self) -> bool:
        """True when it may be scored."""
        return self.stage is Stage.READY


def stage(task: Task, candidates: Sequence[Candidate], bench: Bench) -> list[Staged]:
    """Smoke each candidate, in order. Raises SandboxError for faults of ours."""
    found = []
    for candidate in candidates:
        begun = time.monotonic()
        seen = task.smoke(candidate, bench)
        came = seen.stage or Stage.SMOKE
        if came is Stage.READY and not seen.ok:
            raise RuntimeError(f"the smoke of {task.name} says ready and {seen.verdict}")
        seconds = time.monotonic() - begun
        found.append(
            Staged(sha=candidate.sha, stage=came, verdict=seen.verdict, reason=seen.reason, seconds=seconds),
        )
    return found


def failed(at: Stage, verdict: Verdict, reason: str, **seen: str) -> Score:
    """The score of a smoke that ended at a stage."""
    return Score(verdict=verdict, stage=at, reason=f"{at.value}: {reason}", **seen)


def smoked(outcome: Outcome, wrong: str | None) -> Score:
    """The score of a smoke, from how the program ended and, if it ended well, from what is wrong with the form of its answer."""
    seen = {"image": outcome.image, "backend": outcome.backend}
    if outcome.output is None:
        return failed(outcome.stage, outcome.verdict, outcome.reason, **seen)
    if wrong is not None:
        return failed(Stage.SMOKE, Verdict.INVALID, wrong, **seen)
    return Score(verdict=Verdict.OK, stage=Stage.READY, **seen)
