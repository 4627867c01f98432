"""Rollouts: the policy acts on programs, sandboxes score what comes of it, verdicts become rewards.

A round has a few places (the seed, and the best programs found so far) and a group of actions at each. Programs that are
the same are scored once. Where a task makes new inputs under each secret seed, the places' own programs are scored again
with the round's, so that a reward always compares two scores under one seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agents.models.policy import Policy
from agents.trace import Trace
from benchmarks.evaluator import Evaluator
from benchmarks.task import Candidate, Score, Split, Task, Verdict
from results.store import write_atomically
from sandboxes.base import SandboxError
from training.actions import Action, Place, Space
from training.rewards import reward
from training.rollout import Rollout


class Scorer(Protocol):
    """Says what programs are worth."""

    @property
    def scored(self) -> int:
        """Programs that ran in sandboxes so far."""
        ...

    def __call__(self, programs: Sequence[str]) -> dict[str, Score]:
        """The scores of programs by their source, all comparable with each other."""
        ...


class SandboxScorer:
    """Scores on a task's search split, in sandboxes. `scored` counts programs that ran, `reused` those that did not have to."""

    def __init__(self, task: Task, evaluator: Evaluator, *, quick: bool = True) -> None:
        self.task, self.evaluator, self.quick = task, evaluator, quick
        self.scored = self.reused = 0
        self._known: dict[str, Score] = {}

    def __call__(self, programs: Sequence[str]) -> dict[str, Score]:
        """See `Scorer`. A score outlives the round only where the split is a fixed list of cases."""
        distinct = list(dict.fromkeys(programs))
        asked = [source for source in distinct if source not in self._known]
        candidates = [Candidate(source=source, name=f"action {i + 1}") for i, source in enumerate(asked)]
        found = dict(self._known)
        if candidates:
            scores = self.evaluator.evaluate(self.task.name, candidates, Split.SEARCH, quick=self.quick)
            found |= dict(zip(asked, scores, strict=True))
        self.scored += len(asked)
        self.reused += len(programs) - len(asked)
        if not self.task.fresh_inputs:
            self._known = found
        return {source: found[source] for source in distinct}


@dataclass(frozen=True)
class Attempt:
    """One action and what became of it."""

    group: int
    """The place where it was made, by its number in the round."""
    action: Action
    verdict: Verdict | None = None
    """None: not scored, because it was no action, or because its place's own program failed this time."""
    reason: str = ""
    reward: float = 0.0


@dataclass(frozen=True)
class Played:
    """One round before the update: all that the update depends on."""

    places: list[Place]
    attempts: list[Attempt]
    """Of groups whose place was scored ok; the others say nothing."""
    chances: dict[str, float] | None
    """Log-probability of every option at the first place, where options are finite."""
    seconds: dict[str, float]
    scored: int = 0
    """Programs that ran in sandboxes."""

    def rollouts(self, number: int) -> list[Rollout]:
        """What the trainer learns from. `number`: the round's."""
        return [
            Rollout(a.action.prompt, a.action.tokens, a.action.logprobs, a.reward, f"{number}/{a.group}",
                    allowed=a.action.allowed)
            for a in self.attempts
        ]  # fmt: skip

    @property
    def valid(self) -> int:
        """Actions that were actions and that the task accepted as programs."""
        return sum(a.action.program is not None and a.verdict is not Verdict.INVALID for a in self.attempts)

    @property
    def entropy(self) -> float:
        """Mean of -log p of the actions drawn, in nats an action: an unbiased estimate of the policy's entropy."""
        return -sum(sum(a.action.logprobs) for a in self.attempts) / max(1, len(self.attempts))


def act(
    policy: Policy, space: Space, places: Sequence[Place], group: int, *, temperature: float, seed: Sequence[int]
) -> tuple[list[Attempt], dict[str, float] | None]:
    """`group` actions at each place, not scored yet; and the chances at the first. `seed`: whole numbers; they decide."""
    attempts: list[Attempt] = []
    chances = None
    for number, place in enumerate(places):
        own = int(np.random.SeedSequence([*seed, number]).generate_state(1)[0])
        acts = space.act(policy, place, group, temperature=temperature, seed=own)
        attempts += [Attempt(number, action, reason=action.why) for action in acts.actions]
        chances = acts.chances if number == 0 else chances
    return attempts, chances


def scored(
    task: Task,
    score: Callable[[Sequence[str]], Mapping[str, Score]],
    places: Sequence[Place],
    attempts: Sequence[Attempt],
) -> list[Attempt]:
    """The attempts with verdicts and rewards. Raises SandboxError when no place's own program is ok."""
    programs = [a.action.program for a in attempts if a.action.program is not None]
    scores = score([*(place.source for place in places), *programs])
    made = []
    for attempt in attempts:
        old, program = scores[places[attempt.group].source], attempt.action.program
        if not old.ok:
            continue
        new = scores[program] if program is not None else None
        made.append(replace(
            attempt, reward=reward(task, new, old), verdict=new.verdict if new else None,
            reason=new.reason if new else attempt.reason,
        ))  # fmt: skip
    if not made:
        first = scores[places[0].source]
        raise SandboxError(f"no program to start from is ok: the first is {first.verdict.value}, {first.reason}")
    return made


def trace_round(trace: Trace, number: int, played: Played) -> None:
    """Write each attempt of a round down, for a reader."""
    for a in played.attempts:
        trace.write(
            "attempt", round=number, place=list(played.places[a.group].done), action=a.action.text, why=a.action.why,
            tokens=list(a.action.tokens), logprobs=[round(p, 4) for p in a.action.logprobs], reward=a.reward,
            verdict=a.verdict.value if a.verdict else None, reason=a.reason,
        )  # fmt: skip


def write_played(file: Path, played: Played) -> None:
    """Keep a round, to the last bit, so that a run killed in the update goes on with the same rewards."""
    write_atomically(file, json.dumps(asdict(played), allow_nan=False).encode())


def read_played(file: Path) -> Played:
    """What `write_played` wrote."""
    told = json.loads(file.read_text())
    places = [Place(p["source"], tuple(p["done"])) for p in told.pop("places")]
    attempts = [
        Attempt(**{**a, "action": _action(a["action"]), "verdict": Verdict(a["verdict"]) if a["verdict"] else None})
        for a in told.pop("attempts")
    ]
    return Played(places=places, attempts=attempts, **told)


def _action(told: Mapping[str, Any]) -> Action:
    allowed = None if told["allowed"] is None else tuple(map(tuple, told["allowed"]))
    return Action(**{**told, "prompt": tuple(told["prompt"]), "tokens": tuple(told["tokens"]),
                     "logprobs": tuple(told["logprobs"]), "allowed": allowed})  # fmt: skip
