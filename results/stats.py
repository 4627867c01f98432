"""Intervals and paired comparisons. Pure functions on numpy arrays; nothing here knows a task.

All intervals are 95 % unless a level is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

Array = npt.NDArray[np.float64]
FLIPS = 40_000
"""Flips of a sign-flip test, at least; more where it is held against an error so small that fewer could never show it."""
AT_ONCE = 4_000


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927). Raises ValueError unless 0 <= successes <= n, n > 0."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"wilson needs 0 <= successes <= n and n > 0, got {successes} of {n}")
    z = float(norm.ppf(0.5 + level / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def bootstrap_mean(values: Array, *, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values`, shape [n]. Raises ValueError when empty or not finite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError("bootstrap needs a non-empty vector of finite values")
    rng = np.random.default_rng(seed)
    # Counts of a multinomial resample are the same draw as indices, at n_resamples x n bytes of memory at once.
    means = np.empty(resamples)
    for start in range(0, resamples, 256):
        count = min(256, resamples - start)
        picks = rng.integers(0, values.size, size=(count, values.size))
        means[start : start + count] = values[picks].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_difference(
    new: Mapping[str, float], old: Mapping[str, float], *, seed: int = 0, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Mean of new − old over the same units, and its bootstrap interval.

    Raises ValueError when the two were not measured on exactly the same units: an unpaired comparison would hide that
    one of them was spared the hard cases.
    """
    if new.keys() != old.keys() or not new:
        raise ValueError("scores were not measured on the same units, so they can't be paired")
    keys = sorted(new)
    differences = np.array([new[k] - old[k] for k in keys])
    return float(differences.mean()), bootstrap_mean(differences, seed=seed, level=level)


def sign_flip(differences: Sequence[float], *, flips: int = FLIPS, seed: int = 0) -> float:
    """One-sided p-value of "the mean is not above zero", by sign flips of the differences [n]. Exact up to 15 units.

    `flips` bounds the p-value from below, by 1 / (1 + flips).
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    n = len(values)
    if n == 0 or values.sum() <= 0:
        return 1.0
    seen = values.sum() - 1e-12 * np.abs(values).sum()  # a tie is as large, whatever order it was added up in
    if n <= 15:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(signs @ values >= seen))
    rng, large = np.random.default_rng(seed), 0
    for start in range(0, flips, AT_ONCE):
        # Bits are drawn eight at a time: forty thousand flips of a thousand units are five million bytes, not forty.
        size = (min(AT_ONCE, flips - start), (n + 7) // 8)
        bits = np.unpackbits(rng.integers(0, 256, size=size, dtype=np.uint8), axis=1)[:, :n]
        large += int(np.sum(values.sum() - 2.0 * (bits @ values) >= seen))
    return (1 + large) / (1 + flips)
