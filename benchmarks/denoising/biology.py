"""What a reviewer asks for beside the losses: are the known populations still apart, and are their markers blurred?

All of it is secondary. Cells are compared on `log1p_cp10k` of the genes that vary most in the training counts, in their
first principal components, so that before and after differ in the values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from benchmarks.denoising.metrics import TARGET_SUM

VARIABLE_GENES = 1000
COMPONENTS = 20
NEIGHBOURS = 15
ROWS_AT_ONCE = 256
Array = npt.NDArray[np.float64]


def cp10k(rows: Any, genes: npt.NDArray[np.int64]) -> Array:
    """Counts per ten thousand of some genes, the sums being those of all genes; [cells, chosen genes]."""
    found = np.empty((rows.shape[0], len(genes)))
    for start in range(0, rows.shape[0], ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        dense = part.toarray() if sparse.issparse(part) else part
        total = dense.sum(axis=1, dtype=np.float64)
        found[start : start + ROWS_AT_ONCE] = dense[:, genes] * (TARGET_SUM / np.where(total == 0, 1.0, total))[:, None]
    return found


def variable_genes(train: sparse.csr_matrix, number: int = VARIABLE_GENES) -> npt.NDArray[np.int64]:
    """The genes whose variance most exceeds their mean (Poisson counts have the two equal); ascending."""
    mean = np.asarray(train.mean(axis=0)).ravel()
    variance = np.asarray(train.multiply(train).mean(axis=0)).ravel() - mean**2
    excess = np.where(mean > 0, variance / np.maximum(mean, 1e-12), 0.0)
    return np.sort(np.argsort(-excess, kind="stable")[: min(number, train.shape[1])])


def components(rows: Any, genes: npt.NDArray[np.int64]) -> Array:
    """Principal components of the cells, [cells, up to 20]."""
    values = np.log1p(cp10k(rows, genes))
    return np.asarray(
        PCA(min(COMPONENTS, *values.shape), svd_solver="randomized", random_state=0).fit_transform(values)
    )


def separation(place: Array, labels: npt.NDArray[np.str_]) -> dict[str, float]:
    """`silhouette` (−1 to 1) and `purity`: the mean share of a cell's 15 nearest others that have its label."""
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(labels) - 1) + 1).fit(place)
    others = near.kneighbors(place, return_distance=False)[:, 1:]
    same = labels[others] == labels[:, None]
    return {"silhouette": float(silhouette_score(place, labels)), "purity": float(same.mean())}


def marker_leaks(
    rows: Any, labels: npt.NDArray[np.str_], genes: npt.NDArray[np.str_], markers: Mapping[str, Mapping[str, str]]
) -> dict[str, float]:
    """For each marker: its mean expression (cp10k) in the other populations, over that in its own.

    0 means that nobody else shows it, 1 that it tells nothing any more. A denoiser that averages over borders raises
    it. Markers that the data lack are left out.
    """
    place = {gene: number for number, gene in enumerate(genes)}
    chosen = [
        (kind, name, place[key]) for kind, found in markers.items() for name, key in found.items() if key in place
    ]
    values = cp10k(rows, np.array([column for _, _, column in chosen], dtype=np.int64))
    leaks = {}
    for number, (kind, name, _) in enumerate(chosen):
        own, others = values[labels == kind, number], values[labels != kind, number]
        if len(own) and len(others) and own.mean() > 0:
            leaks[f"{name} ({kind})"] = float(others.mean() / own.mean())
    return leaks
