"""Medians of blocks and how sure they are (percentile bootstrap, Efron 1979)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.kernels.problem import Doubles

RESAMPLES = 1000
LEVEL = 0.95


def centre(logs: Mapping[str, Doubles]) -> float:
    """Mean over shapes of the median over blocks: the logarithm of the geometric mean of the shapes' typical ratios."""
    return float(np.mean([np.median(values) for values in logs.values()]))


def interval(logs: Mapping[str, Doubles], *, resamples: int = RESAMPLES, level: float = LEVEL) -> tuple[float, float]:
    """Bounds of `centre` when the blocks of each shape are drawn again, with replacement.

    Raises ValueError for a shape without a block or with a value that is not finite.
    """
    rng = np.random.default_rng(0)
    total = np.zeros(resamples)
    for key, values in logs.items():
        if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
            raise ValueError(f"{key}: an interval needs finite values, at least one")
        picks = rng.integers(0, values.size, size=(resamples, values.size))
        total += np.median(values[picks], axis=1)
    low, high = np.quantile(total / len(logs), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def settled(logs: Mapping[str, Doubles], precision: float) -> bool:
    """True when the interval is no wider than `precision` to either side of the centre (logs, so a share: 0.01 is 1 %)."""
    low, high = interval(logs)
    middle = centre(logs)
    return max(high - middle, middle - low) <= precision
