"""One thinning of a data set, as the candidate sees it and as the evaluator scores it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from benchmarks.denoising import biology, metrics
from benchmarks.denoising.cells import Cells

LEVELS = 10
MAP_CELLS = 1000
"""Cells in the table for a picture of the populations."""
Table = list[dict[str, str | float]]


@dataclass(frozen=True)
class Trial:
    """One thinning, in the shuffled order in which the candidate sees it."""

    split: metrics.Thinned
    cells: npt.NDArray[np.int64]
    """[cells]: which cell of the split stands in each row."""
    labels: npt.NDArray[np.str_] | None = field(default=None, repr=False)
    """[cells], in the order of the rows."""
    genes: npt.NDArray[np.str_] | None = field(default=None, repr=False)
    """[kept genes], in the order of the columns."""

    @property
    def inputs(self) -> dict[str, bytes]:
        """What goes into the sandbox: the training counts and nothing else."""
        train, file = self.split.train, io.BytesIO()
        np.savez(file, data=train.data, indices=train.indices, indptr=train.indptr, shape=np.array(train.shape))
        return {"counts.npz": file.getvalue()}

    @cached_property
    def marks(self) -> metrics.Marks:
        """What the losses are normalised by."""
        return metrics.marks(self.split)

    @cached_property
    def _before(self) -> tuple[npt.NDArray[np.int64], biology.Array]:
        """Variable genes, and the components of the training counts."""
        chosen = biology.variable_genes(self.split.train)
        return chosen, biology.components(self.split.train, chosen)

    def populations(self, prediction: Any, markers: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, float], Table]:
        """Silhouette, purity and marker leak `_before` and `_after`, and a row for each marker; empty without labels."""
        if self.labels is None:
            return {}, []
        chosen, before = self._before
        found: dict[str, float] = {}
        for when, place in (("before", before), ("after", biology.components(prediction, chosen))):
            found |= {f"{name}_{when}": value for name, value in biology.separation(place, self.labels).items()}
        rows: Table = []
        if self.genes is not None:
            first, last = (
                biology.marker_leaks(m, self.labels, self.genes, markers) for m in (self.split.train, prediction)
            )
            rows = [{"marker": name, "before": first[name], "after": last[name]} for name in first if name in last]
            if rows:
                found["marker_leak_before"] = float(np.mean([first[str(row["marker"])] for row in rows]))
                found["marker_leak_after"] = float(np.mean([last[str(row["marker"])] for row in rows]))
        return found, rows

    def map(self, prediction: Any) -> Table:
        """First two components of some cells before and after, with their populations (`-` where none are known)."""
        chosen, before = self._before
        after = biology.components(prediction, chosen)
        if before.shape[1] < 2:
            return []
        rows = np.sort(np.argsort(self.cells)[:: max(1, len(self.cells) // MAP_CELLS)][:MAP_CELLS])
        kinds = self.labels if self.labels is not None else np.full(len(self.cells), "-")
        return [
            {"population": str(kinds[row]), "before_1": _short(before[row, 0]), "before_2": _short(before[row, 1]),
             "after_1": _short(after[row, 0]), "after_2": _short(after[row, 1])}
            for row in rows
        ]  # fmt: skip

    def levels(self, per_gene: npt.NDArray[np.float64], none_per_gene: npt.NDArray[np.float64]) -> Table:
        """Mean squared error by expression level: genes in ten groups of equal size, from rare to frequent."""
        train = self.split.train
        share = np.asarray(train.sum(axis=0, dtype=np.float64)).ravel() / train.sum(dtype=np.float64) * 1e4
        groups = np.array_split(np.argsort(share, kind="stable"), min(LEVELS, len(share)))
        return [
            {"least_cp10k": float(share[g].min()), "most_cp10k": float(share[g].max()), "genes": len(g),
             "mse": float(per_gene[g].mean()), "mse_none": float(none_per_gene[g].mean())}
            for g in groups
        ]  # fmt: skip


def _short(value: float) -> float:
    return round(float(value), 3)


def trials(cells: Cells, seed: int, number: int, train_share: float = 0.9) -> list[Trial]:
    """`number` independent thinnings of a data set under `seed` (a non-negative integer of any size).

    `train_share` is the share of the molecules that the training counts get.
    Cells and genes are shuffled too, so that nothing learned about a position is worth anything elsewhere.
    """
    made = []
    counts = cells.counts
    for index in range(number):
        rng = np.random.default_rng([seed, index])
        order, genes = rng.permutation(counts.shape[0]), rng.permutation(counts.shape[1])
        trial = Trial(metrics.thin(sparse.csr_matrix(counts[order][:, genes]), rng, train_share), order)
        labels = None if cells.labels is None else cells.labels[order]
        names = None if cells.genes is None else cells.genes[genes][trial.split.kept]
        made.append(replace(trial, labels=labels, genes=names))
    return made
