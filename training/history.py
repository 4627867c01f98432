"""A training run in numbers: a line for each round, and what the lines say of whether to go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.models.sync import HandOver
from agents.models.validity import Validity
from training.trainer import Stats

PATIENCE = 3
"""Rounds in a row that a policy may do one thing only before the run is stopped."""
ONE_ACTION = 0.05
"""Nats an action: below it a policy does one thing only (p > 0.95)."""


@dataclass(frozen=True)
class Round:
    """One round in numbers. Means are over actions; times in seconds."""

    number: int
    acting: str | None
    """Hash of the adapter that acted; None is the base model."""
    adapter: str | None
    """Hash of the adapter after the round."""
    reward: float
    best: float
    """Largest gain of a program found so far over the one that the run began with, added up along its way; 0: none is better."""
    valid: int
    actions: int
    distinct: int
    """Programs that differ, the places' own not counted."""
    entropy: float
    """Nats an action; see `Played.entropy`."""
    kl_start: float | None
    """KL(policy that acted ‖ policy of the first round), nats an action at the program that the run began with, exact; None
    where options are not finite. The first round's is the base, unless the run began with an adapter."""
    seconds: dict[str, float]
    """Of sampling, sandbox, update, hand_over."""
    stats: Stats
    sync: HandOver | None
    """None when there was no step, and so nothing to hand over."""
    spread: float
    """Largest difference of rewards within a group."""
    one_action: bool
    """True when every group did one thing only."""
    scored: int = 0
    """Programs that ran in sandboxes, the places' own among them."""
    stopped: str = ""
    """Why the run stopped after this round; "" when it did not."""

    @property
    def kl(self) -> float | None:
        """KL to the base: the objective's own estimate where it has one (nats a token), else `kl_start`."""
        return self.stats.kl_base if self.stats.kl_base is not None else self.kl_start


def why_stop(done: list[Round]) -> str:
    """Why a run must not go on after these rounds, or "": the form of answers decays, or the policy has collapsed."""
    validity = Validity()
    for line in done:
        validity = validity.after(line.valid, line.actions)
    if validity.decay:
        return f"format decay: {validity.decay}"
    last = done[-PATIENCE:]
    if len(last) == PATIENCE and all(r.one_action and r.entropy < ONE_ACTION and r.spread == 0 for r in last):
        return (
            f"collapsed policy: in {PATIENCE} rounds one action only and no spread of rewards, so nothing more is learned; "
            "raise --temperature, lower --learning-rate, or --reset-every"
        )
    return ""


def kl(new: Mapping[str, float], old: Mapping[str, float]) -> float:
    """KL(new ‖ old) in nats, from log-probabilities by option. Raises ValueError when the options differ."""
    if new.keys() != old.keys():
        raise ValueError("two policies with different options have no KL")
    return float(max(0.0, sum(np.exp(p) * (p - old[name]) for name, p in new.items())))


def read_rounds(file: Path) -> list[Round]:
    """The log of a run, as far as it is whole."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        told = json.loads(line)
        sync = HandOver(**told["sync"]) if told["sync"] else None
        found.append(Round(**{**told, "stats": Stats(**told["stats"]), "sync": sync}))
    return found
