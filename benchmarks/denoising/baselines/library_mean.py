"""Baseline: the mean cell, scaled to each cell's library size. It knows nothing of a cell but how many molecules it had.

A denoiser whose likelihood is worse than this one's has lost more than it found; the task's floor says so.
"""

import numpy as np


def denoise(counts):
    """Expected counts, float32 [cells, genes], of rank one."""
    library = np.asarray(counts.sum(axis=1, dtype=np.float64))
    share = np.asarray(counts.sum(axis=0, dtype=np.float64)) / library.sum()
    return library.astype(np.float32) * share.astype(np.float32)
