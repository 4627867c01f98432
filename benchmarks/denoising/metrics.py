"""The two published measures of a denoiser, and the thinning they are measured on.

Source of the formulas: molecular cross-validation (Batson et al. 2019) and the denoising task of OpenProblems. Counts
are unique molecules, cells in rows and genes in columns. A prediction has the training counts' shape and unit, and is
dense (float32 or float64) or a scipy sparse matrix. Everything is summed in float64 over blocks of cells of at most
BLOCK_BYTES, so that memory does not grow with the number of cells; logarithms are taken of seen entries only where a
matrix is sparse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[np.float64]

TARGET_SUM = 1e4
"""Molecules to which every cell is scaled before the logarithm ("counts per ten thousand", cp10k)."""
EPSILON = 1e-6
"""Added to the rate inside the logarithm of the Poisson loss, so that a rate of 0 is a large loss and not infinity."""
BLOCK_BYTES = 32 * 2**20
LOSSES = ("mse", "poisson", "poisson_openproblems")


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
    whole = sparse.csr_matrix(counts)
    if not np.isfinite(whole.data).all() or np.any(whole.data < 0) or np.any(whole.data != np.rint(whole.data)):
        raise ValueError("only non-negative integer counts can be thinned")
    molecules = whole.data.astype(np.int64)
    picked = rng.binomial(molecules, fraction)
    train, test = _like(whole, picked), _like(whole, molecules - picked)
    kept = np.asarray(train.sum(axis=0)).ravel() > 0
    return Thinned(train[:, kept], test[:, kept], kept)


def _like(matrix: sparse.csr_matrix, values: npt.NDArray[np.generic]) -> sparse.csr_matrix:
    new = sparse.csr_matrix((values.astype(np.float32), matrix.indices.copy(), matrix.indptr.copy()), matrix.shape)
    new.eliminate_zeros()
    return new


def log1p_cp10k(rows: npt.ArrayLike) -> Array:
    """log(1 + 10,000 · x / Σx) of every cell; dense [cells, genes] in and out. A cell without counts stays 0."""
    dense = np.array(rows, dtype=np.float64)
    total = dense.sum(axis=1, keepdims=True)
    total[total == 0] = 1.0
    dense *= TARGET_SUM / total
    return np.asarray(np.log1p(dense, out=dense))


def sparse_log1p_cp10k(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    """The same for a sparse matrix, float64 CSR: zeros stay zeros."""
    values = sparse.csr_matrix(rows, dtype=np.float64, copy=True)
    total = np.asarray(values.sum(axis=1)).ravel()
    values.data *= np.repeat(TARGET_SUM / np.where(total == 0, 1.0, total), np.diff(values.indptr))
    np.log1p(values.data, out=values.data)
    return values


def squared_errors(prediction: Any, test: sparse.csr_matrix) -> tuple[Array, Array]:
    """Squared difference of `log1p_cp10k`, averaged over genes [cells] and over cells [genes]. ValueError on shapes.

    The cell sums are those of the genes at hand, which is how the published figures were made.
    """
    cells, genes = _shape(prediction, test)
    per_cell, per_gene = np.empty(cells), np.zeros(genes)
    for rows in _blocks(cells, genes):
        wanted = sparse_log1p_cp10k(test[rows])
        if sparse.issparse(prediction):
            apart = sparse.csr_matrix(sparse_log1p_cp10k(sparse.csr_matrix(prediction)[rows]) - wanted).power(2)
            per_cell[rows], by_gene = np.asarray(apart.sum(axis=1)).ravel(), np.asarray(apart.sum(axis=0)).ravel()
        else:
            dense = log1p_cp10k(prediction[rows])
            seen = wanted.tocoo()
            dense[seen.row, seen.col] -= seen.data
            dense *= dense
            per_cell[rows], by_gene = dense.sum(axis=1), dense.sum(axis=0)
        per_gene += by_gene
    return per_cell / genes, per_gene / cells


def mse_per_cell(prediction: Any, test: sparse.csr_matrix) -> Array:
    """Mean over genes of the squared difference of `log1p_cp10k`; float64 [cells]."""
    return squared_errors(prediction, test)[0]


def mse(prediction: Any, test: sparse.csr_matrix) -> float:
    """Mean of `mse_per_cell`: 0 for the test counts themselves; lower is better."""
    return float(mse_per_cell(prediction, test).mean())


def poisson(prediction: Any, train: sparse.csr_matrix, test: sparse.csr_matrix) -> float:
    """Poisson loss of the test counts under the predicted rates, nats an entry, without the term ln(test!).

    With q = prediction · Σtest/Σtrain: mean(q − test · ln(q + 1e-6)). Smallest at q = test; lower is better.
    """
    loss = 0.0
    for total, hit, seen in _hits(prediction, train, test):
        # Where test is 0 the logarithm has weight 0: only the seen entries need one.
        loss += total - float(np.dot(seen, np.log(hit + EPSILON)))
    return loss / _size(test)


def poisson_openproblems(prediction: Any, train: sparse.csr_matrix, test: sparse.csr_matrix) -> float:
    """The same loss with its arguments exchanged, as OpenProblems (v1, v2) and every figure built on it compute it.

    mean(test − q · ln(test + 1e-6)). It is linear in the prediction and unbounded below: mass on entries with two or
    more test molecules always helps. Kept so that numbers stay comparable with published ones, never to rank by.
    """
    loss = 0.0
    for total, hit, seen in _hits(prediction, train, test):
        loss += float(seen.sum() - np.dot(hit, np.log(seen + EPSILON))) - np.log(EPSILON) * float(total - hit.sum())
    return loss / _size(test)


def poisson_of_mean_cell(train: sparse.csr_matrix, test: sparse.csr_matrix) -> float:
    """`poisson` of the prediction that knows nothing of a cell but its size: library size × mean share of the gene."""
    library = np.asarray(train.sum(axis=1, dtype=np.float64)).ravel()
    share = np.asarray(train.sum(axis=0, dtype=np.float64)).ravel() / library.sum()
    seen = test.tocoo()
    rates = library[seen.row] * share[seen.col] * _scale(train, test)
    loss = test.sum(dtype=np.float64) - float(np.dot(seen.data.astype(np.float64), np.log(rates + EPSILON)))
    return float(loss) / _size(test)


@dataclass(frozen=True)
class Marks:
    """What the losses of one thinning are normalised by; the same for every candidate, so computed once."""

    none: dict[str, float]
    """Losses of the training counts as they are."""
    perfect: dict[str, float]
    """Losses of the test counts, handed in like any prediction, as published."""
    mean_cell: float
    """`poisson_of_mean_cell`."""


def losses(prediction: Any, split: Thinned) -> dict[str, float]:
    """The three losses of one prediction."""
    measured: dict[str, Callable[[], float]] = {
        "mse": lambda: mse(prediction, split.test),
        "poisson": lambda: poisson(prediction, split.train, split.test),
        "poisson_openproblems": lambda: poisson_openproblems(prediction, split.train, split.test),
    }
    return {name: measure() for name, measure in measured.items()}


def marks(split: Thinned) -> Marks:
    """The marks of a thinning; nothing dense is made for it."""
    return Marks(losses(split.train, split), losses(split.test, split), poisson_of_mean_cell(split.train, split.test))


def normalised(value: float, none: float, perfect: float) -> float:
    """(none − value)/(none − perfect): 0 for the training counts as they are, 1 for the test counts themselves."""
    if none == perfect:
        raise ValueError("none and perfect have the same loss, so there is nothing to normalise by")
    return (none - value) / (none - perfect)


def all_metrics(prediction: Any, split: Thinned, known: Marks | None = None) -> dict[str, float]:
    """The losses of a prediction, their normalised forms (`_norm`), and three numbers made of those.

    `combined` is the mean of mse_norm and poisson_norm; `combined_openproblems` is the published score, the mean of
    mse_norm and poisson_openproblems_norm; `likelihood_margin` is poisson_norm less that of the mean cell.

    As published, "perfect" is the test counts handed in like any prediction, so the Poisson losses scale them down by
    Σtest/Σtrain too. The least `poisson` there is has therefore a `poisson_norm` above 1.
    """
    known = known or marks(split)
    found = losses(prediction, split)
    for name in LOSSES:
        found[f"{name}_norm"] = normalised(found[name], known.none[name], known.perfect[name])
    mean_cell = normalised(known.mean_cell, known.none["poisson"], known.perfect["poisson"])
    found["combined"] = (found["mse_norm"] + found["poisson_norm"]) / 2
    found["combined_openproblems"] = (found["mse_norm"] + found["poisson_openproblems_norm"]) / 2
    found["likelihood_margin"] = found["poisson_norm"] - mean_cell
    return found


def _hits(prediction: Any, train: sparse.csr_matrix, test: sparse.csr_matrix) -> Iterator[tuple[float, Array, Array]]:
    """For each block of cells: the sum of all rates, the rates where test molecules were seen, and those molecules."""
    cells, genes = _shape(prediction, test)
    scale = _scale(train, test)
    for rows in _blocks(cells, genes):
        part = sparse.csr_matrix(prediction)[rows] if sparse.issparse(prediction) else prediction[rows]
        seen = test[rows].tocoo()
        hit = np.asarray(part[seen.row, seen.col], dtype=np.float64).ravel() * scale
        yield float(part.sum(dtype=np.float64)) * scale, hit, seen.data.astype(np.float64)


def _scale(train: sparse.csr_matrix, test: sparse.csr_matrix) -> float:
    """Σtest/Σtrain: what a rate of training molecules is multiplied by to be a rate of test molecules."""
    return float(test.sum(dtype=np.float64) / train.sum(dtype=np.float64))


def _size(matrix: sparse.csr_matrix) -> int:
    return int(matrix.shape[0]) * int(matrix.shape[1])


def _shape(prediction: Any, test: sparse.csr_matrix) -> tuple[int, int]:
    shape = getattr(prediction, "shape", None)
    if shape != test.shape:
        raise ValueError(f"prediction has shape {shape}, the counts have {test.shape}")
    return test.shape[0], test.shape[1]


def _blocks(cells: int, genes: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // (8 * max(1, genes)))
    for start in range(0, cells, step):
        yield slice(start, min(start + step, cells))
