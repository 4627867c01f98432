"""Baseline: MAGIC with reversed normalisation, the stronger of the published variants and the start of TTT-Discover.

Square roots first, then library-size normalisation of the roots; the rest is as in `magic.py`.
"""

import numpy as np
import scprep
from magic import MAGIC

SOLVER = "approximate"


def denoise(counts):
    """Denoised counts, float64 [cells, genes]."""
    roots = np.sqrt(counts.toarray())
    shares, library = scprep.normalize.library_size_normalize(roots, rescale=1, return_library_size=True)
    operator = MAGIC(
        solver=SOLVER, knn=5, decay=1, t=3, n_pca=min(100, min(counts.shape) - 1), random_state=0, verbose=0
    )
    smoothed = np.asarray(operator.fit_transform(shares, genes="all_genes"))
    return np.square(np.maximum(smoothed, 0.0) * np.asarray(library)[:, None])
