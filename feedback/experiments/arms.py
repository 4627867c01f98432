"""The arms of the experiment: who proposes, and which levers may be pulled. All run in the same loop behind the same gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.task import Candidate, Direction, Task
from feedback.agent import Answer, Asked, FeedbackAgent
from feedback.briefing import Briefing
from feedback.decision import Decision, HarnessEdit, Lever, Moves, TrainingWish, applied
from feedback.moves import Move, edits_for, moves_for
from feedback.search_agent import Search, edit_of
from feedback.weights import WeightsLever
from training.actions import menu


def run_name(arm: str, seed: int) -> str:
    """What files and folders of one run are called."""
    return f"{arm.replace(' ', '-')}-{seed}"


def library(task: Task) -> dict[str, Move]:
    """The task's moves by name."""
    return {m.name: m for m in moves_for(task.name)}


@dataclass(frozen=True)
class RandomSearch:
    """Options of the best program's menu, each as likely as any other: what the library's order is worth is the difference
    between this and the search."""

    task: Task
    name: str = "random"

    def decide(self, asked: Asked) -> Answer:
        """See `FeedbackAgent.decide`."""
        moves = library(self.task)
        source = asked.briefing.program
        options = menu(source, edits_for(self.task.name))
        seen = {t.sha for t in asked.archive.tries(self.task.name)}
        fresh = [o for o, made in options.items() if Candidate(source=made, weights=asked.best.weights).sha not in seen]
        if not fresh:
            return Answer(None, why="every option of the best program was tried")
        drawn = np.random.default_rng([*asked.seed, 3]).permutation(fresh)[: asked.width]
        edits = tuple(HarnessEdit(edit=edit_of(str(text), moves)) for text in drawn)
        return Answer(Decision(lever=Lever.HARNESS, reason="drawn", edits=edits))

    def draft(self, briefing: Briefing, contract: str, seed: Sequence[int]) -> tuple[str | None, Answer]:
        """The seed is the first program."""
        return None, Answer(None)


@dataclass(frozen=True)
class Optuna:
    """Optuna's TPE with its defaults: each move of the library is on or off, and a program is the seed with those that are on.

    The study is rebuilt from the archive each time, so that it survives a kill. Failures are told as pruned.
    """

    task: Task
    name: str = "optuna"

    def decide(self, asked: Asked) -> Answer:
        """See `FeedbackAgent.decide`."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        moves = library(self.task)
        up = self.task.metric.direction is Direction.UP
        sampler = optuna.samplers.TPESampler(seed=int(np.random.SeedSequence([*asked.seed, 5]).generate_state(1)[0]))
        study = optuna.create_study(direction="maximize" if up else "minimize", sampler=sampler)
        space: dict[str, Any] = {name: optuna.distributions.CategoricalDistribution([False, True]) for name in moves}
        history = asked.archive.tries(self.task.name)
        for tried in history:
            on = {name: name in tried.moves for name in moves}
            score = tried.scored
            if score is not None and score.ok and score.value is not None:
                study.add_trial(optuna.trial.create_trial(params=on, distributions=space, value=score.value))
        seed, seen = self.task.seed(), {t.sha for t in history}
        edits: list[HarnessEdit] = []
        for _ in range(20 * asked.width):
            trial = study.ask(space)
            names = tuple(name for name in moves if trial.params[name])
            made = _made(names, seed.source, moves)
            if made is None or Candidate(source=made).sha in seen:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            seen.add(Candidate(source=made).sha)
            edits.append(HarnessEdit(edit=Moves(names=names[:16]), parent=seed.sha))
            if len(edits) == asked.width:
                break
        if not edits:
            return Answer(None, why="TPE proposes nothing new")
        return Answer(Decision(lever=Lever.HARNESS, reason="asked of TPE", edits=tuple(edits)))

    def draft(self, briefing: Briefing, contract: str, seed: Sequence[int]) -> tuple[str | None, Answer]:
        """The seed is the first program."""
        return None, Answer(None)


def _made(names: tuple[str, ...], source: str, moves: dict[str, Move]) -> str | None:
    from agents.edits import EditError

    try:
        return applied(Moves(names=names[:16]), source, dict(moves)) if names else None
    except EditError:
        return None


@dataclass(frozen=True)
class Arm:
    """One way to spend the budget."""

    levers: str
    """Name of the lever policy."""
    agent: Callable[[Task, WeightsLever], FeedbackAgent]
    what: str


WISH = TrainingWish(rounds=1, group=6)
"""14 scored programs at most, and two to judge what came of them; the next request goes on with the adapter."""


def _search(task: Task, weights: WeightsLever) -> FeedbackAgent:
    return Search(task, wish=WISH, guide=weights.guide)


ARMS: dict[str, Arm] = {
    "H": Arm("harness", _search, "the harness only: the search over moves, in the order of the library"),
    "W": Arm("weights", _search, "the weights only: programs come from the model that is trained"),
    "H+W harness-first": Arm("harness-first", _search, "both; the weights when the harness stops paying"),
    "H+W alternate": Arm("alternate", _search, "both, by turns"),
    "H+W bandit": Arm("bandit", _search, "both, by Thompson sampling on gain per second"),
    "random": Arm("harness", lambda task, weights: RandomSearch(task), "the harness only: uniform options"),
    "Optuna": Arm("harness", lambda task, weights: Optuna(task), "the harness only: TPE over which moves are on"),
}
