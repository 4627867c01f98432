"""Baseline: kNN smoothing (Wagner, Yan & Yanai 2018, doi:10.1101/217737): add up the counts of similar cells, stepwise.

Neighbours are searched again after each step, among 10 principal components of Freeman-Tukey transformed counts that
are scaled to the median library; 1, 3, 7 and then 15 neighbours, as proposed.
"""

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

STEPS = (1, 3, 7, 15)
COMPONENTS = 10


def components(counts):
    """Principal components of the cells, [cells, 10]."""
    dense = counts.toarray().astype(np.float32)
    library = np.maximum(dense.sum(axis=1, keepdims=True), 1.0)
    dense *= np.median(library) / library
    roots = np.sqrt(dense)
    np.sqrt(dense + 1.0, out=dense)
    roots += dense
    return PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit_transform(roots)


def denoise(counts):
    """Smoothed counts, float32 [cells, genes], scaled back to each cell's own library."""
    counts = sparse.csr_matrix(counts, dtype=np.float32)
    smoothed = counts
    for neighbours in STEPS:
        place = components(smoothed)
        take = min(neighbours + 1, counts.shape[0])
        near = NearestNeighbors(n_neighbors=take).fit(place).kneighbors_graph(place)
        smoothed = sparse.csr_matrix(near @ counts, dtype=np.float32)
    shares = smoothed.toarray()
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1.0)
    return shares * np.asarray(counts.sum(axis=1))
