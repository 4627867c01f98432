"""The two published measures of a denoiser, and the thinning they are measured on.

Source of the formulas: molecular cross-validation (Batson et al. 2019) and the denoising task of OpenProblems. Counts
are unique molecules, cells in rows and genes in columns. A prediction is a dense array of the training counts' shape,
in the unit of the training counts. Everything is summed in float64, a few hundred cells at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[np.float64]

TARGET_SUM = 1e4
"""Molecules to which every cell is scaled before the logarithm ("counts per ten thousand", cp10k)."""
EPSILON = 1e-6
"""Added to the rate inside the logarithm of the Poisson loss, so that a rate of 0 is a large loss and not infinity."""
CHUNK = 256


@dataclass(frozen=True)
class Thinned:
    """One random division of the molecules of a count matrix; `train + test` is that matrix without dropped genes."""

    train: sparse.csr_matrix
    """float32 [cells, kept genes]; this is what a candidate sees."""
    test: sparse.csr_matrix
    """float32 [cells, kept genes]; this never leaves the evaluator."""
    kept: npt.NDArray[np.bool_]
    """[genes of the full matrix]; False for a gene without a training count, which nobody can predict."""


def thin(counts: sparse.csr_matrix, rng: np.random.Generator, fraction: float = 0.9) -> Thinned:
    """Send each molecule to the training counts with probability `fraction`, else to the test counts.

    `counts` holds non-negative integers (any dtype). Raises ValueError for other values or a fraction outside (0, 1).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    whole = sparse.csr_matrix(counts, dtype=np.float64)
    if not np.isfinite(whole.data).all() or np.any(whole.data < 0) or np.any(whole.data != np.rint(whole.data)):
        raise ValueError("only non-negative integer counts can be thinned")
    picked = rng.binomial(whole.data.astype(np.int64), fraction)
    train = _like(whole, picked)
    test = _like(whole, whole.data - picked)
    kept = np.asarray(train.sum(axis=0)).ravel() > 0
    return Thinned(train[:, kept], test[:, kept], kept)


def _like(matrix: sparse.csr_matrix, values: npt.NDArray[np.generic]) -> sparse.csr_matrix:
    new = sparse.csr_matrix((values.astype(np.float32), matrix.indices.copy(), matrix.indptr.copy()), matrix.shape)
    new.eliminate_zeros()
    return new


def log1p_cp10k(rows: npt.ArrayLike) -> Array:
    """log(1 + 10,000 · x / Σx) of every cell; dense [cells, genes] in and out. A cell without counts stays 0."""
    dense = np.asarray(rows, dtype=np.float64)
    total = dense.sum(axis=1, keepdims=True)
    total[total == 0] = 1.0
    return np.asarray(np.log1p(dense / total * TARGET_SUM))


def mse_per_cell(prediction: npt.ArrayLike, test: sparse.csr_matrix) -> Array:
    """Mean over genes of the squared difference of `log1p_cp10k`; float64 [cells]. Raises ValueError on other shapes.

    The cell sums are those of the genes at hand, which is how the published figures were made.
    """
    dense = _checked(prediction, test)
    parts = [
        np.mean((log1p_cp10k(dense[rows]) - log1p_cp10k(test[rows].toarray())) ** 2, axis=1)
        for rows in _chunks(test.shape[0])
    ]
    return np.concatenate(parts)


def mse(prediction: npt.ArrayLike, test: sparse.csr_matrix) -> float:
    """Mean of `mse_per_cell`: 0 for the test counts themselves; lower is better."""
    return float(mse_per_cell(prediction, test).mean())


def poisson(prediction: npt.ArrayLike, train: sparse.csr_matrix, test: sparse.csr_matrix) -> float:
    """Poisson loss of the test counts under the predicted rates, nats an entry, without the term ln(test!).

    With q = prediction · Σtest/Σtrain: mean(q − test · ln(q + 1e-6)). Smallest at q = test; lower is better.
    """
    dense = _checked(prediction, test)
    scale = _scale(train, test)
    loss = 0.0
    for rows in _chunks(test.shape[0]):
        rates = dense[rows].astype(np.float64) * scale
        seen = test[rows].tocoo()
        # Where test is 0 the logarithm has weight 0: only the seen entries need one.
        loss += rates.sum() - float(np.dot(seen.data, np.log(rates[seen.row, seen.col] + EPSILON)))
    return float(loss / dense.size)


def poisson_openproblems(prediction: npt.ArrayLike, train: sparse.csr_matrix, test: sparse.csr_matrix) -> float:
    """The same loss with its arguments exchanged, as OpenProblems (v1, v2) and every figure built on it compute it.

    mean(test − q · ln(test + 1e-6)). It is linear in the prediction and unbounded below: mass on entries with two or
    more test molecules always helps. Kept so that numbers stay comparable with published ones, never to rank by.
    """
    dense = _checked(prediction, test)
    scale = _scale(train, test)
    loss = float(test.sum(dtype=np.float64))
    for rows in _chunks(test.shape[0]):
        rates = dense[rows].astype(np.float64) * scale
        seen = test[rows].tocoo()
        hit = rates[seen.row, seen.col]
        loss -= float(np.dot(hit, np.log(seen.data + EPSILON))) + np.log(EPSILON) * (rates.sum() - hit.sum())
    return float(loss / dense.size)


def normalised(value: float, none: float, perfect: float) -> float:
    """(none − value) / (none − perfect): 0 for the training counts as they are, 1 for the test counts themselves.

    Above 1 and below 0 can happen (see `all_metrics`). Raises ValueError when none equals perfect.
    """
    if none == perfect:
        raise ValueError("none and perfect have the same loss, so there is nothing to normalise by")
    return (none - value) / (none - perfect)


def all_metrics(prediction: npt.ArrayLike, split: Thinned) -> dict[str, float]:
    """mse, poisson, poisson_openproblems and their normalised forms (`_norm`) of one prediction.

    As published, "perfect" is the test counts handed in like any prediction, so the Poisson losses scale them down by
    Σtest/Σtrain too. The least `poisson` there is has therefore a `poisson_norm` above 1.
    """
    train, test = split.train, split.test
    none, perfect = train.toarray(), test.toarray()
    losses: dict[str, Callable[[npt.ArrayLike], float]] = {
        "mse": lambda p: mse(p, test),
        "poisson": lambda p: poisson(p, train, test),
        "poisson_openproblems": lambda p: poisson_openproblems(p, train, test),
    }
    found = {}
    for name, loss in losses.items():
        found[name] = loss(prediction)
        found[f"{name}_norm"] = normalised(found[name], loss(none), loss(perfect))
    return found


def _scale(train: sparse.csr_matrix, test: sparse.csr_matrix) -> float:
    """Σtest/Σtrain: what a rate of training molecules is multiplied by to be a rate of test molecules."""
    return float(test.sum(dtype=np.float64) / train.sum(dtype=np.float64))


def _checked(prediction: npt.ArrayLike, test: sparse.csr_matrix) -> npt.NDArray[np.floating]:
    dense = np.asarray(prediction)
    if dense.shape != test.shape:
        raise ValueError(f"prediction has shape {dense.shape}, the counts have {test.shape}")
    return dense


def _chunks(cells: int) -> Iterator[slice]:
    for start in range(0, cells, CHUNK):
        yield slice(start, start + CHUNK)
