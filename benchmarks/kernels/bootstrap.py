"""Medians over lives of a program and how sure they are (percentile bootstrap over lives, Efron 1979).

Blocks of one life are no independent evidence: what chance dealt that process is in all of them. So the lives are drawn again, and
each life takes its values of all shapes along (a cluster bootstrap; Davison and Hinkley 1997, Bootstrap Methods, section 3.8).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.kernels.problem import Doubles

RESAMPLES = 1000
LEVEL = 0.95


def centre(lives: Mapping[str, Doubles]) -> float:
    """Mean over shapes of the median over lives: the logarithm of the geometric mean of the shapes' typical ratios."""
    return float(np.mean([np.median(values) for values in lives.values()]))


def interval(lives: Mapping[str, Doubles], *, resamples: int = RESAMPLES, level: float = LEVEL) -> tuple[float, float]:
    """Bounds of `centre` when the lives are drawn again, with replacement: `lives[shape][l]` is the value of life l.

    Raises ValueError for a shape without a life, with a value that is not finite, or with another number of lives; and for no shape.
    """
    if not lives:
        raise ValueError("an interval needs a shape")
    count = len(next(iter(lives.values())))
    for key, values in lives.items():
        if values.shape != (count,) or count == 0 or not np.isfinite(values).all():
            raise ValueError(f"{key}: an interval needs finite values, at least one, and as many for each shape")
    picks = np.random.default_rng(0).integers(0, count, size=(resamples, count))
    centres = np.mean([np.median(values[picks], axis=1) for values in lives.values()], axis=0)
    low, high = np.quantile(centres, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def settled(lives: Mapping[str, Doubles], precision: float) -> bool:
    """True when the interval is no wider than `precision` to either side of the centre (logs, so a share: 0.01 is 1 %)."""
    low, high = interval(lives)
    middle = centre(lives)
    return max(high - middle, middle - low) <= precision
