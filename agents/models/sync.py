"""No silent failure between trainer and sampler: an adapter counts as handed over when the sampler's own numbers show it.

Elsewhere training went on for months while every sampler still answered with the weights of the first day, because each
call had returned success. So nothing that a sampler *says* is believed here. On a fixed probe batch, its log-probabilities
must (1) have changed, (2) agree with the trainer's within the sampler's stated tolerance, and (3) where the update is large
enough to be told from noise, be nearer to the trainer's than they were before. The last one catches a stale adapter that
hides inside the tolerance. Otherwise the round stops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agents.models.policy import Policy, Scored
from sandboxes.base import SandboxError

Logprobs = Sequence[Sequence[float]]
"""Natural log-probability of each token of each pair of the probe batch, at temperature 1."""


class SyncError(SandboxError):
    """Trainer and sampler do not have the same weights. The round stops; what was sampled since does not count."""


class NotApplied(SyncError):
    """The sampler answers as before: it did not put the adapter on, or the adapter does nothing."""


class Mismatch(SyncError):
    """The sampler changed, but not into what the trainer has: another adapter, another scale, other base weights."""


@dataclass(frozen=True)
class HandOver:
    """What the probe said; all differences in nats a token."""

    adapter: str
    changed: float
    """Largest change of the sampler's own log-probabilities."""
    mismatch: float
    """Largest difference from the trainer's afterwards."""
    mean_mismatch: float
    before: float
    """Root mean square difference from the trainer's before the hand-over: how much there was to hand over."""
    after: float
    """The same afterwards."""


def hand_over(policy: Policy, adapter: Path | str, probe: Sequence[Scored], expected: Logprobs) -> HandOver:
    """Make `policy` wear `adapter`, and check it against the trainer's log-probabilities `expected` of the probe batch.

    The probe must have at least one token. Raises NotApplied, Mismatch, and what `Policy.load_adapter` raises.
    """
    old = _flat(policy.score(probe))
    policy.load_adapter(adapter)
    return check(old, _flat(policy.score(probe)), _flat(expected), policy)


def check(
    old: npt.NDArray[np.float64], new: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], policy: Policy
) -> HandOver:
    """The three conditions on flat arrays of the probe's log-probabilities [tokens]. Raises NotApplied, Mismatch."""
    if not len(new) or old.shape != new.shape or new.shape != expected.shape:
        raise ValueError(f"the probe has {len(new)} tokens and the trainer gave {len(expected)} log-probabilities")
    if not np.isfinite(new).all() or not np.isfinite(expected).all():
        raise Mismatch("a log-probability of the probe batch is not finite; go back to the last good adapter")
    allowed = policy.tolerance
    found = HandOver(
        adapter=policy.adapter or "",
        changed=float(np.abs(new - old).max()),
        mismatch=float(np.abs(new - expected).max()),
        mean_mismatch=float(np.abs(new - expected).mean()),
        before=_rms(old - expected),
        after=_rms(new - expected),
    )
    if not found.adapter:
        raise NotApplied("the sampler wears no adapter after the hand-over")
    if found.changed <= allowed.noise:
        raise NotApplied(
            f"the sampler's log-probabilities changed by {found.changed:.2g} after adapter {found.adapter[:12]} was handed "
            "over: it was not applied, or it is no different from the one before"
        )
    telling = found.before > 3 * allowed.resolution
    if found.mismatch > allowed.match or (telling and found.after >= found.before):
        raise Mismatch(
            f"after adapter {found.adapter[:12]} was handed over the sampler differs from the trainer by {found.mismatch:.2g} "
            f"nats (allowed {allowed.match:g}), root mean square {found.after:.2g} against {found.before:.2g} before"
        )
    return found


def _rms(values: npt.NDArray[np.float64]) -> float:
    return math.sqrt(float((values**2).mean()))


def _flat(logprobs: Logprobs) -> npt.NDArray[np.float64]:
    return np.array([value for row in logprobs for value in row], dtype=np.float64)
