"""Denoise single-cell counts: estimate each cell's expression from a sample of its molecules.

This first version returns the counts as they are: every step is here, and none does anything yet. The steps are
share -> stabilise -> smooth -> unstabilise -> sharpen -> blend -> restore.
"""

import numpy as np

POWER = 1.0
"""Exponent applied to shares before smoothing; 0.5 (the square root) makes the variance of counts about equal."""
CONTRAST = 1.0
"""Exponent applied to smoothed shares; above 1, high values rise and low values sink."""
PRIOR_WEIGHT = 0.0
"""How much of the answer comes from `prior` and not from the smoothed shares, 0 to 1."""
RANK = 12
"""Number of components kept, where something is decomposed."""
NEIGHBOURS = 10
"""Number of similar cells averaged over, where cells are compared."""
STEPS = 2
"""Number of times that averaging is repeated."""


def share(counts):
    """Each cell's counts divided by their sum, dense [cells, genes]; and the sums, [cells, 1]."""
    dense = counts.toarray().astype(np.float64)
    library = dense.sum(axis=1, keepdims=True)
    return dense / np.maximum(library, 1.0), library


def stabilise(shares):
    """Shares on the scale that they are smoothed on."""
    return shares**POWER


def unstabilise(values):
    """Back to shares."""
    return np.maximum(values, 0.0) ** (1.0 / POWER)


def smooth(values):
    """Take out noise, on the stabilised scale."""
    return values


def sharpen(shares, contrast):
    """Shares with more contrast (above 1) or less; each cell sums to 1 again."""
    raised = shares**contrast
    return raised / np.maximum(raised.sum(axis=1, keepdims=True), 1e-12)


def prior(shares, library):
    """A cautious second estimate: the mean cell, for every cell."""
    mean = (shares * library).sum(axis=0) / library.sum()
    return np.broadcast_to(mean, shares.shape)


def blend(estimate, cautious, weight):
    """Mix the estimate with the prior, so that nothing seen elsewhere is held to be impossible."""
    return (1.0 - weight) * estimate + weight * cautious


def settings(counts):
    """Contrast and prior weight: the same for all data."""
    return CONTRAST, PRIOR_WEIGHT


def restore(shares, library):
    """Counts again: every cell gets back the number of molecules that it had."""
    return (shares * library).astype(np.float32)


def denoise(counts):
    """Denoised counts, float32 [cells, genes], for training counts in a scipy CSR matrix of the same shape."""
    contrast, weight = settings(counts)
    shares, library = share(counts)
    estimate = sharpen(unstabilise(smooth(stabilise(shares))), contrast)
    return restore(blend(estimate, prior(shares, library), weight), library)
