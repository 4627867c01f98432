"""A data set as the scorer wants it: counts, and what is known of cells and genes; and how one is read from a file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from scipy import sparse

from sandboxes.base import UserError

LAYERS = ("layers/counts", "raw/X", "X")
"""Where an .h5ad may keep its counts, in the order in which they are looked for."""


@dataclass(frozen=True)
class Cells:
    """Unique molecules by cell and gene."""

    counts: sparse.csr_matrix
    """float32 [cells, genes], whole and non-negative."""
    labels: npt.NDArray[np.str_] | None = None
    """[cells]: the known population of each cell; never shown to a candidate."""
    genes: npt.NDArray[np.str_] | None = None
    """[genes]: Ensembl ids or symbols; never shown to a candidate either."""

    def rows(self, chosen: npt.NDArray[Any]) -> Cells:
        """Some of the cells."""
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, counts=sparse.csr_matrix(self.counts[chosen]), labels=labels)

    def filtered(self) -> Cells:
        """Without genes that no cell shows and cells with fewer than two molecules, as OpenProblems filters."""
        genes = np.asarray((self.counts > 0).sum(axis=0)).ravel() >= 1
        kept = sparse.csr_matrix(self.counts[:, genes])
        cells = np.asarray(kept.sum(axis=1)).ravel() >= 2
        names = None if self.genes is None else self.genes[genes]
        return replace(self, counts=kept, genes=names).rows(np.flatnonzero(cells))


def made_up(cells: int = 160, genes: int = 200, seed: int = 0) -> Cells:
    """Counts that nobody measured, for a smoke: Poisson with four kinds of cells, about 400 molecules each.

    A gene's rate is gamma distributed in each kind, a cell's depth between half and twice the usual.
    """
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.5, 1.0, (4, genes))[rng.integers(0, 4, cells)]
    depth = 400.0 * 2.0 ** rng.uniform(-1, 1, (cells, 1))
    drawn = rng.poisson(depth * rates / rates.sum(axis=1, keepdims=True))
    return Cells(sparse.csr_matrix(drawn.astype(np.float32)))


def read_h5ad(path: Path, label: str | None = None) -> Cells:
    """The counts of any `.h5ad`: `layers/counts`, else `raw/X`, else `X`; CSR, CSC or dense, whole numbers.

    `label` names the column of `obs` that holds the populations. Raises UserError: not an .h5ad, no whole numbers, no
    such column.
    """
    try:
        with h5py.File(path) as file:
            key = next((k for k in LAYERS if k in file and _whole(file[k])), None)
            if key is None:
                raise UserError(
                    f"{path.name} holds no counts: none of {', '.join(LAYERS)} has only whole numbers; "
                    "save the raw counts in layers['counts']"
                )
            counts = _matrix(file[key])
            labels = None if label is None else _column(file["obs"], label, path.name)
            genes = _index(file["raw/var" if key == "raw/X" else "var"])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path.name} is not a readable .h5ad file ({error})") from error
    if (labels is not None and len(labels) != counts.shape[0]) or (genes is not None and len(genes) != counts.shape[1]):
        raise UserError(f"{path.name}: obs and var do not have the shape of its counts {counts.shape}")
    return Cells(counts, labels, genes)


def _whole(node: Any) -> bool:
    values = node["data"][:] if isinstance(node, h5py.Group) else node[:]
    return bool(values.size and np.isfinite(values).all() and values.min() >= 0 and (values == np.rint(values)).all())


def _matrix(node: Any) -> sparse.csr_matrix:
    if not isinstance(node, h5py.Group):
        return sparse.csr_matrix(node[:].astype(np.float32))
    kind = node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "csr"))
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    shape = tuple(int(n) for n in node.attrs.get("shape", node.attrs.get("h5sparse_shape")))
    form = sparse.csc_matrix if kind.startswith("csc") else sparse.csr_matrix
    made = form((node["data"][:].astype(np.float32), node["indices"][:], node["indptr"][:]), shape=shape)
    counts = sparse.csr_matrix(made)
    counts.sum_duplicates()
    return counts


def _text(values: Any) -> npt.NDArray[np.str_]:
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values], dtype=np.str_)


def _column(obs: Any, name: str, file: str) -> npt.NDArray[np.str_]:
    """A column of a data frame, in the old or the new way of writing categories."""
    if isinstance(obs, h5py.Dataset):  # anndata before 0.7 wrote one table
        if name not in (obs.dtype.names or ()):
            raise UserError(f"{file}: no column {name!r} in obs")
        return _text(obs[name])
    if name not in obs:
        raise UserError(f"{file}: no column {name!r} in obs; there are {', '.join(sorted(obs))[:200]}")
    column = obs[name]
    if isinstance(column, h5py.Group):
        return np.asarray(_text(column["categories"][:])[column["codes"][:]])
    if "__categories" in obs and name in obs["__categories"]:
        return np.asarray(_text(obs["__categories"][name][:])[column[:]])
    return _text(column[:])


def _index(var: Any) -> npt.NDArray[np.str_] | None:
    if isinstance(var, h5py.Dataset):
        return _text(var["index"]) if "index" in (var.dtype.names or ()) else None
    key = var.attrs.get("_index", "_index")
    key = key.decode() if isinstance(key, bytes) else str(key)
    return _text(var[key][:]) if key in var else None


def save_npz(cells: Cells, path: Path) -> None:
    """Write a data set into the cache, whole or not at all, without anything that would need pickle to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    c = cells.counts
    arrays: dict[str, Any] = {"data": c.data, "indices": c.indices, "indptr": c.indptr, "shape": np.array(c.shape)}
    named = {"labels": cells.labels, "genes": cells.genes}
    arrays |= {key: value for key, value in named.items() if value is not None}
    try:
        np.savez(part, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_npz(path: Path) -> Cells:
    """Read what `save_npz` wrote."""
    with np.load(path, allow_pickle=False) as file:
        parts = (file["data"].astype(np.float32), file["indices"], file["indptr"])
        counts = sparse.csr_matrix(parts, shape=tuple(file["shape"]))
        return Cells(counts, *(file.get(key) for key in ("labels", "genes")))
