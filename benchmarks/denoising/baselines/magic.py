"""Baseline: MAGIC (van Dijk et al. 2018) with its published settings, as in the OpenProblems benchmark.

Library-size normalisation, then square roots, then diffusion (knn 5, decay 1, t 3, 100 principal components), then back.
"""

import numpy as np
import scprep
from magic import MAGIC

SOLVER = "approximate"


def denoise(counts):
    """Denoised counts, float64 [cells, genes]."""
    shares, library = scprep.normalize.library_size_normalize(counts.toarray(), rescale=1, return_library_size=True)
    operator = MAGIC(
        solver=SOLVER, knn=5, decay=1, t=3, n_pca=min(100, min(counts.shape) - 1), random_state=0, verbose=0
    )
    smoothed = np.asarray(operator.fit_transform(np.sqrt(shares), genes="all_genes"))
    return np.square(np.maximum(smoothed, 0.0)) * np.asarray(library)[:, None]
