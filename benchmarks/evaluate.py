"""Score candidates under a secret seed: commit to it before anything untrusted runs, reveal it with the scores."""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Sequence

from benchmarks.task import Bench, Candidate, Score, Split, Task, Verdict


def commitment(seed: int, nonce: str) -> str:
    """SHA-256 (hex) that fixes a seed without telling it; the nonce keeps a small seed from being searched for."""
    return hashlib.sha256(f"{seed}:{nonce}".encode()).hexdigest()


def evaluate(
    task: Task,
    candidates: Sequence[Candidate],
    split: Split,
    bench: Bench,
    on_commit: Callable[[str], None] = lambda committed: None,
) -> list[Score]:
    """Score candidates on one split under one fresh secret seed, so that they can be compared pairwise.

    `on_commit` gets the commitment before the first candidate starts. Raises SandboxError for faults of ours.
    """  # fmt: skip
    seed, nonce = secrets.randbits(63), secrets.token_hex(16)
    committed = commitment(seed, nonce)
    on_commit(committed)
    begun = time.monotonic()
    scores = task.score(list(candidates), split, seed, bench)
    if len(scores) != len(candidates):
        raise RuntimeError(f"{task.name} gave {len(scores)} scores for {len(candidates)} candidates")
    each = (time.monotonic() - begun) / max(1, len(scores))
    sealed = {"seed_commitment": committed, "seed_revealed": f"{seed}:{nonce}"}
    return [_checked(s).model_copy(update={**sealed, "seconds": s.seconds or each}) for s in scores]


def _checked(score: Score) -> Score:
    """The last line of defence against a scorer's own slip: no number without `ok`, no `ok` without a finite number."""
    numbers = [score.value, *(score.interval or ()), *score.units.values()]
    if score.ok and any(x is None or not math.isfinite(x) for x in numbers):
        return Score(verdict=Verdict.INVALID, reason="score is not a finite number", image=score.image)
    if not score.ok and (score.value is not None or score.units):
        return score.model_copy(update={"value": None, "interval": None, "units": {}})
    return score
