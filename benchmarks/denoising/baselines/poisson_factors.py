"""Baseline: rates from Poisson factorisation, the program with the best likelihood that we know of.

Non-negative factors under the Kullback-Leibler loss (Lee & Seung 1999), which is the Poisson likelihood; the mean of
two ranks, because their errors differ. It only estimates rates and does nothing for `mse`.
"""

import numpy as np
from scipy import sparse

RANKS = (8, 16)
ROUNDS = 40
BLOCK = 200_000


def factorise(counts, rank, rounds, seed=0):
    """Cells [cells, rank] and genes [rank, genes], whose product is the rate; each row of genes sums to 1."""
    rng = np.random.default_rng(seed)
    cells, genes = counts.shape
    row = np.repeat(np.arange(cells), np.diff(counts.indptr))
    library = np.asarray(counts.sum(axis=1)).ravel()
    share = np.asarray(counts.sum(axis=0)).ravel() / library.sum()
    left = (rng.dirichlet(np.full(rank, 0.5), cells) * library[:, None]).astype(np.float32)
    right = (share * rng.gamma(2.0, 0.5, (rank, genes))).astype(np.float32)
    right /= right.sum(axis=1, keepdims=True)
    for turn in range(2 * rounds):
        # Only where molecules were seen does the ratio of count to rate differ from 0.
        columns = np.ascontiguousarray(right.T)
        ratio = np.empty_like(counts.data)
        for start in range(0, len(ratio), BLOCK):
            part = slice(start, start + BLOCK)
            rate = np.einsum("ij,ij->i", left[row[part]], columns[counts.indices[part]])
            ratio[part] = counts.data[part] / np.maximum(rate, 1e-10)
        ratios = sparse.csr_matrix((ratio, counts.indices, counts.indptr), counts.shape)
        if turn % 2:
            right *= (ratios.T @ left).T
            right /= np.maximum(right.sum(axis=1, keepdims=True), 1e-12)
        else:
            left = np.maximum(left * (ratios @ columns), 1e-8)
    return left, right


def denoise(counts):
    """Mean rates, float32 [cells, genes]."""
    counts = sparse.csr_matrix(counts, dtype=np.float32)
    rates = np.zeros(counts.shape, dtype=np.float32)
    for rank in RANKS:
        left, right = factorise(counts, rank, ROUNDS)
        rates += (left @ right) / len(RANKS)
    return rates
