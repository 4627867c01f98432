"""Which lever next? Policies over measured gains and costs; none of them looks at a task.

    harness        only the harness                              (the arm H of the experiment)
    weights        only the weights                              (the arm W)
    harness-first  the harness until it stops paying, then the weights, as was published
    alternate      by turns
    bandit         Thompson sampling on gain per second, out of what was measured in this run
    agent          the feedback agent says

A choice comes with its alternatives and its evidence, and both go into the archive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from feedback.decision import Lever
from sandboxes.base import UserError


@dataclass(frozen=True)
class Pull:
    """One finished generation: its lever, what it gained and what it cost."""

    lever: Lever
    gain: float
    """Paired gain of what was kept, in the task's natural units; 0 when nothing was kept."""
    seconds: float


@dataclass(frozen=True)
class LeverChoice:
    """The lever to pull, or None where the agent is to say; with what spoke for it."""

    lever: Lever | None
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


class LeverPolicy(Protocol):
    """Chooses a lever from what the levers did so far."""

    @property
    def name(self) -> str:
        """How it is called on the command line."""
        ...

    @property
    def levers(self) -> tuple[Lever, ...]:
        """The levers it may pull."""
        ...

    def choose(self, pulls: Sequence[Pull], seed: Sequence[int]) -> LeverChoice:
        """The next lever. The same pulls and seed give the same choice, so that a resumed run goes the same way."""
        ...


BOTH = (Lever.HARNESS, Lever.WEIGHTS)


@dataclass(frozen=True)
class Only:
    """One lever, always."""

    lever: Lever

    @property
    def name(self) -> str:
        """See `LeverPolicy.name`."""
        return self.lever.value

    @property
    def levers(self) -> tuple[Lever, ...]:
        """See `LeverPolicy.levers`."""
        return (self.lever,)

    def choose(self, pulls: Sequence[Pull], seed: Sequence[int]) -> LeverChoice:
        """See `LeverPolicy.choose`."""
        return LeverChoice(self.lever, "the only lever of this run")


@dataclass(frozen=True)
class HarnessFirst:
    """The harness until `patience` generations in a row kept nothing, then the weights; back when those stop paying, too."""

    patience: int = 2
    name: str = "harness-first"
    levers: tuple[Lever, ...] = BOTH

    def choose(self, pulls: Sequence[Pull], seed: Sequence[int]) -> LeverChoice:
        """See `LeverPolicy.choose`."""
        lever, idle = Lever.HARNESS, 0
        for pull in pulls:
            idle = 0 if pull.gain > 0 else idle + 1
            if idle >= self.patience:
                lever, idle = (BOTH[1] if lever is BOTH[0] else BOTH[0]), 0
        why = f"{idle} of {self.patience} generations without a gain on this lever"
        return LeverChoice(lever, why, {"idle": idle, "patience": self.patience})


@dataclass(frozen=True)
class Alternate:
    """By turns, the harness first."""

    name: str = "alternate"
    levers: tuple[Lever, ...] = BOTH

    def choose(self, pulls: Sequence[Pull], seed: Sequence[int]) -> LeverChoice:
        """See `LeverPolicy.choose`."""
        return LeverChoice(BOTH[len(pulls) % 2], "the other lever's turn")


@dataclass(frozen=True)
class Bandit:
    """Thompson sampling on gain per second.

    A lever's gain a pull has a normal law with unknown mean and variance and a normal-inverse-gamma prior, centred on the
    mean over all pulls and as wide as they are, which weighs `prior` pulls. A mean is drawn from each lever's posterior
    (Student's t), divided by the lever's mean seconds, and the larger one wins. A pull that keeps nothing gains 0, and none
    gains less, so a draw below 0 counts as 0; of two such the cheaper lever wins. Each lever is pulled once before that.
    (Thompson 1933; the posterior: Murphy 2007, "Conjugate Bayesian analysis of the Gaussian distribution", section 6.)
    """

    prior: float = 1.0
    name: str = "bandit"
    levers: tuple[Lever, ...] = BOTH

    def choose(self, pulls: Sequence[Pull], seed: Sequence[int]) -> LeverChoice:
        """See `LeverPolicy.choose`."""
        for lever in self.levers:
            if not any(p.lever is lever for p in pulls):
                return LeverChoice(lever, "never pulled before")
        rng = np.random.default_rng([*seed, len(pulls)])
        gains = np.array([p.gain for p in pulls])
        centre, width = float(gains.mean()), max(float(gains.std()), 1e-3 * max(1e-9, abs(float(gains.mean()))), 1e-12)
        rates, costs, evidence = {}, {}, {}
        for lever in self.levers:
            own = np.array([p.gain for p in pulls if p.lever is lever])
            cost = costs[lever] = float(np.mean([p.seconds for p in pulls if p.lever is lever]))
            n, mean = len(own), float(own.mean())
            weight = self.prior + n
            at = (self.prior * centre + n * mean) / weight
            a = 1.0 + n / 2
            b = width**2 + ((own - mean) ** 2).sum() / 2 + self.prior * n * (mean - centre) ** 2 / (2 * weight)
            drawn = at + float(rng.standard_t(2 * a)) * float(np.sqrt(b / (a * weight)))
            rates[lever] = max(drawn, 0.0) / max(cost, 1e-9)
            evidence[lever.value] = {
                "pulls": n, "mean_gain": mean, "mean_seconds": cost, "posterior_mean": at, "drawn_gain": drawn,
                "drawn_gain_per_second": rates[lever],
            }  # fmt: skip
        best = max(rates, key=lambda lever: (rates[lever], -costs[lever]))
        return LeverChoice(best, "the larger drawn gain per second", evidence)


@dataclass(frozen=True)
class Agents:
    """The feedback agent says which."""

    name: str = "agent"
    levers: tuple[Lever, ...] = BOTH

    def choose(self, pulls: Sequence[Pull], seed: Sequence[int]) -> LeverChoice:
        """See `LeverPolicy.choose`."""
        return LeverChoice(None, "left to the agent")


POLICIES: dict[str, LeverPolicy] = {
    policy.name: policy
    for policy in (Only(Lever.HARNESS), Only(Lever.WEIGHTS), HarnessFirst(), Alternate(), Bandit(), Agents())
}


def lever_policy(name: str) -> LeverPolicy:
    """A policy by its name. Raises UserError."""
    if name not in POLICIES:
        raise UserError(f"no lever policy {name!r}; there are {', '.join(POLICIES)}")
    return POLICIES[name]
