"""The loop of a training run: act, score, learn, hand the new weights to the sampler, look whether it may go on.

    <run>/rounds/0003.json      the actions of round 3 and their rewards, written before the update
    <run>/rounds.jsonl          one line a round, `Round`
    <run>/state/                optimiser and RNG of the newest rounds (`training.checkpoint`)
    <run>/trace.jsonl           actions, verdicts and rewards for a reader

Killed at any moment, a run goes on from its newest state: what was scored before the kill is not scored again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from agents.models.policy import Policy, Scored
from agents.models.sync import HandOver, SyncError, hand_over
from agents.trace import Trace
from benchmarks.task import Task, Verdict
from results.store import write_atomically
from sandboxes.base import UserError
from training.actions import Place, Space
from training.checkpoint import Store
from training.history import Round, kl, read_rounds, why_stop
from training.objectives import DEFAULT
from training.rollouts import Played, Scorer, act, read_played, scored, trace_round, write_played
from training.trainer import Stats, Trainer, TrainingStopped

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much to do. Raises UserError for what can't work."""

    rounds: int = 8
    group: int = 8
    """Actions at each place."""
    places: int = 2
    """Programs acted on in each round: the seed, and the best found so far."""
    objective: str = DEFAULT
    temperature: float = 1.0
    seed: int = 0
    reset_every: int = 0
    """Rounds after which the adapter starts anew, while the programs found stay; 0: never."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.places < 1 or self.group < 2:
            raise UserError("a run needs at least one round and one place, and groups of at least two actions")
        if not 0 < self.temperature < float("inf"):
            raise UserError("the temperature of a policy that is trained is a positive number")


@dataclass(frozen=True)
class Budget:
    """What a run may spend over all its sittings; a round that was killed is not counted."""

    seconds: float = math.inf
    """Of its rounds. A round that has begun is finished, and another begins only if the longest so far would still fit."""
    candidates: float = math.inf
    """Programs scored in sandboxes, those acted on included. Never exceeded: a round that might do so does not begin."""


@dataclass(frozen=True)
class Finished:
    """A run at its end."""

    rounds: list[Round]
    stopped: str
    """Why it ended before its last round; "" when it did not."""
    adapter: str | None
    """The last good adapter: of a run that was stopped, the one that acted in its best round."""
    best: Place
    best_gain: float
    spent: Budget
    exhausted: str
    """What of its budget did not suffice for its last round: seconds, candidates, or "" for neither."""


@dataclass
class Training:
    """One run in `folder`. Call `run`; call it again on the same folder to go on where it was left."""

    task: Task
    space: Space
    plan: Plan
    trainer: Trainer
    policy: Policy
    scorer: Scorer
    store: Store
    folder: Path
    say: Say
    """What is being done now."""
    tell: Callable[[Round], None]
    """Called after each round, with the rounds of an earlier sitting first."""
    start: Place | None = None
    """The program to begin with; None is the task's seed."""
    adapter: str | None = None
    """Hash of the adapter to begin with, in the store; None is the base model."""
    budget: Budget = field(default_factory=Budget)
    found: dict[str, tuple[float, Place]] = field(default_factory=dict)
    """Programs that are better than the one they were made from: gain over the first program, by source."""

    def run(self) -> Finished:
        """All rounds that are not done. Raises SyncError, ServerGone and other faults; then --resume goes on."""
        self.trace = Trace(self.folder / "trace.jsonl")
        self.origin = self.start or Place(self.task.seed().source)
        done = self._resumed()
        for line in done:
            self.tell(line)
        exhausted = ""
        while len(done) < self.plan.rounds and not (done and done[-1].stopped):
            if exhausted := self._exhausted(done):
                break
            number = len(done) + 1
            if self.plan.reset_every and number > 1 and (number - 1) % self.plan.reset_every == 0:
                self.trainer.reset()
                self.policy.load_adapter(None)
            line = self._round(number, done)
            done.append(line)
            self._keep(done)
            self.tell(line)
        stopped = done[-1].stopped if done else ""
        good = done[-1].adapter if done else self.adapter
        if stopped:
            good = max(done, key=lambda r: r.reward).acting
        gain, best = max(self.found.values(), key=lambda f: f[0], default=(0.0, self.origin))
        return Finished(done, stopped, good, best, gain, spent(done), exhausted)

    def _exhausted(self, done: list[Round]) -> str:
        """What would not suffice for another round."""
        so_far, places = spent(done), 1 + min(len(self.found), self.plan.places - 1)
        if so_far.candidates + places * (1 + self.plan.group) > self.budget.candidates:
            return "candidates"
        longest = max((sum(line.seconds.values()) for line in done), default=0.0)
        return "seconds" if so_far.seconds + longest > self.budget.seconds else ""

    # -- one round -----------------------------------------------------------------------------------------------

    def _round(self, number: int, done: list[Round]) -> Round:
        acting = self.policy.adapter
        played = self._played(number)
        self._remember(played)
        seconds = dict(played.seconds)
        self.say(f"round {number}: update")
        begun, stopped, adapter, sync = time.monotonic(), "", acting, None
        before = self.trainer.state()
        try:
            stats = self.trainer.step(played.rollouts(number), self.plan.objective)
            if not stats.skipped and not self._finite():
                raise TrainingStopped(
                    f"step {number}: the new adapter gives log-probabilities that are not finite", before.lora
                )
        except TrainingStopped as error:
            stopped = f"{error}; lower --learning-rate"
            self.trainer.restore(replace(before, step=self.trainer.step_number))
            stats = Stats(self.trainer.step_number, skipped=stopped)
        seconds["update"] = time.monotonic() - begun
        if not stats.skipped:
            begun = time.monotonic()
            kept = self.store.put(self.trainer.lora())
            self.say(f"round {number}: handing adapter {kept.sha[:12]} over")
            sync = self._hand_over(kept.path)
            adapter = kept.sha
            seconds["hand_over"] = time.monotonic() - begun
        rewards: dict[int, list[float]] = {}
        for a in played.attempts:
            rewards.setdefault(a.group, []).append(a.reward)
        texts = {(a.group, a.action.text) for a in played.attempts}
        line = Round(
            number=number, acting=acting, adapter=adapter,
            reward=float(np.mean([a.reward for a in played.attempts])),
            best=max((gain for gain, _ in self.found.values()), default=0.0),
            valid=played.valid, actions=len(played.attempts),
            distinct=len({a.action.program for a in played.attempts if a.action.program is not None}),
            entropy=played.entropy, kl_start=self._kl_start(played), seconds=seconds, stats=stats, sync=sync,
            spread=max(max(values) - min(values) for values in rewards.values()),
            one_action=len(texts) == len(rewards), scored=played.scored,
        )  # fmt: skip
        return replace(line, stopped=stopped or why_stop([*done, line]))

    def _played(self, number: int) -> Played:
        """The round's actions with their rewards: those of an earlier sitting, or new ones."""
        file = self.folder / "rounds" / f"{number:04d}.json"
        if file.exists():
            return read_played(file)
        places = [self.origin, *self._best(self.plan.places - 1)]
        self.say(f"round {number}: sampling {self.plan.group} actions at {len(places)} programs")
        begun = time.monotonic()
        attempts, chances = act(
            self.policy, self.space, places, self.plan.group, temperature=self.plan.temperature,
            seed=(self.plan.seed, number),
        )  # fmt: skip
        sampled, before = time.monotonic(), self.scorer.scored
        self.say(f"round {number}: scoring in sandboxes")
        attempts = scored(self.task, self.scorer, places, attempts)
        seconds = {"sampling": sampled - begun, "sandbox": time.monotonic() - sampled}
        played = Played(places, attempts, chances, seconds, self.scorer.scored - before)
        write_played(file, played)
        trace_round(self.trace, number, played)
        return played

    def _hand_over(self, adapter: Path) -> HandOver:
        probe = self.space.probe(self.policy, self.origin)
        return hand_over(self.policy, adapter, probe, self._expected(probe))

    def _expected(self, probe: list[Scored]) -> list[tuple[float, ...]]:
        """The trainer's log-probabilities of the probe."""
        return self.trainer.logprobs([(self.policy.encode(p) if isinstance(p, str) else p, t) for p, t in probe])

    def _finite(self) -> bool:
        """Whether the trainer's model still gives numbers: one token is enough to tell."""
        prompt, tokens = self.space.probe(self.policy, self.origin)[0]
        return all(map(math.isfinite, self._expected([(prompt, tokens[:1])])[0]))

    def _best(self, count: int) -> list[Place]:
        return [place for _, place in sorted(self.found.values(), key=lambda f: -f[0])[:count]]

    def _remember(self, played: Played) -> None:
        for a in played.attempts:
            if a.verdict is Verdict.OK and a.reward > 0 and a.action.program is not None:
                at = played.places[a.group]
                gain = a.reward + (self.found[at.source][0] if at.source in self.found else 0.0)
                known = self.found.get(a.action.program)
                if a.action.program != self.origin.source and (known is None or gain > known[0]):
                    done = "edited" if a.action.allowed is None else a.action.text
                    self.found[a.action.program] = (gain, Place(a.action.program, (*at.done, done)))

    def _kl_start(self, played: Played) -> float | None:
        first = self.folder / "rounds" / "0001.json"
        base = read_played(first).chances if first.exists() else None
        return kl(played.chances, base) if played.chances and base else None

    # -- what survives a kill ------------------------------------------------------------------------------------

    def _keep(self, done: list[Round]) -> None:
        """The log first: a line without its state is dropped at the next start, a state without its line would be lost."""
        text = "".join(json.dumps(asdict(line), allow_nan=False) + "\n" for line in done)
        write_atomically(self.folder / "rounds.jsonl", text.encode())
        self.store.save(self.trainer.state())

    def _resumed(self) -> list[Round]:
        state = self.store.latest()
        if state is None:
            if self.adapter is not None:
                self.trainer.load(self.adapter)
                self._hand_over(self.store.put(self.trainer.lora()).path)
            return []
        done = read_rounds(self.folder / "rounds.jsonl")[: state.step]
        if len(done) < state.step:
            raise UserError(
                f"{self.folder} has the state of round {state.step} and {len(done)} rounds: start a new run"
            )
        self.trainer.restore(state)
        for line in done:
            self._remember(read_played(self.folder / "rounds" / f"{line.number:04d}.json"))
        if done[-1].adapter not in (None, self.policy.adapter):
            self._hand_over(self.store.put(state.lora).path)
        return done


def spent(done: list[Round]) -> Budget:
    """What these rounds cost."""
    return Budget(sum(sum(line.seconds.values()) for line in done), sum(line.scored for line in done))


__all__ = ["Budget", "Finished", "Plan", "Round", "SyncError", "Training"]
