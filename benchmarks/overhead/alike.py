"""Do identical programs differ for a whole run? Analysis of variance over the runs of copies in `test_kernel_clock.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import f

from benchmarks.kernels.problem import Doubles


def what_stays(runs: Sequence[Doubles]) -> dict[str, float]:
    """How far identical programs differ for a whole run, beside what each life deals anew: `runs[r][program, life]`, logarithms.

    Analysis of variance by programs and lives, all runs together (Fisher 1925, Statistical Methods for Research Workers, chapter 7):
    the mean square of programs is that of what is left over, plus lives x variance of what stays.
    """
    between = within = lives = 0.0
    free_between = free_within = 0
    for table in runs:
        programs, count = table.shape
        centred = table - table.mean(axis=0)
        effects = centred.mean(axis=1, keepdims=True)
        between, within = between + count * float((effects**2).sum()), within + float(((centred - effects) ** 2).sum())
        free_between, free_within = free_between + programs - 1, free_within + (programs - 1) * (count - 1)
        lives += count / len(runs)
    of_programs, of_lives = between / free_between, within / free_within
    return {
        "variance_ratio": of_programs / of_lives,
        "variance_ratio_p": float(f.sf(of_programs / of_lives, free_between, free_within)),
        "deviation_that_stays": math.sqrt(max(0.0, (of_programs - of_lives) / lives)),
        "deviation_of_a_life": math.sqrt(of_lives),
    }
