"""`pbmc_facs`: 3,774 blood cells by 16,791 genes, sorted by antibody before sequencing, so their populations are known.

A selection of the bead-enriched populations of Zheng et al. 2017 (doi:10.1038/ncomms14049; 10x Genomics), as the R
package fastTopics (BSD-2-Clause) publishes it. The user's copy `$RATCHET_DATA/pbmc_facs.npz` is taken when its hash is
right, else the package's file is downloaded from the commit below, checked by hash and converted. Both hold the same
counts and labels (compared entry by entry).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.denoising.cells import Cells, load_npz, save_npz
from benchmarks.fetch import http_file
from sandboxes.base import UserError
from sandboxes.cache import cache_dir

CELLS, GENES, MOLECULES = 3774, 16_791, 7_500_459
COPY, COPY_SHA256 = "pbmc_facs.npz", "6461f1e636e8fdc0b79ebfe7d5ac857af277ec0fe134d0a137ef80d9134471b9"
COMMIT = "a21be7b2b6ab66a9efae4559632c42313c2f2c18"
ADDRESS = f"https://raw.githubusercontent.com/stephenslab/fastTopics/{COMMIT}/data/pbmc_facs.RData"
ADDRESS_SHA256 = "90ae0879b8c7ba4d456f9a0d1be964213b0dda6788a7b05b48d867b9f76f2946"
MARKERS = {
    "B cell": {"MS4A1": "ENSG00000156738", "CD79A": "ENSG00000105369", "CD79B": "ENSG00000007312"},
    "CD14+": {"LYZ": "ENSG00000090382", "S100A8": "ENSG00000143546", "S100A9": "ENSG00000163220"},
    "CD34+": {"CD34": "ENSG00000174059", "SPINK2": "ENSG00000128040"},
    "NK cell": {"GNLY": "ENSG00000115523", "KLRF1": "ENSG00000150045"},
    "T cell": {"CD3D": "ENSG00000167286", "CD3E": "ENSG00000198851"},
}
"""Genes that tell a population from the others, by its label; textbook markers, chosen before any score was seen."""


def _cached() -> Path:
    return cache_dir() / "denoising" / f"pbmc_facs-{COPY_SHA256[:12]}.npz"


def missing() -> str | None:
    """None when the cells are at hand, else one line that says how to get them."""
    if _cached().is_file() or _own_copy():
        return None
    return "no sorted cells yet: run `ratchet data fetch denoising-facs`, or put pbmc_facs.npz into $RATCHET_DATA"


def fetch(progress: Callable[[str], None], address: str = ADDRESS, sha256: str = ADDRESS_SHA256) -> None:
    """Bring the cells into the cache unless they are there. Raises UserError: no network, another hash, full disk."""
    if _cached().is_file():
        return
    copy = _own_copy()
    if copy:
        progress(f"reading {copy}")
        save_npz(_read_copy(copy), _cached())
        return
    found = _read_rdata(http_file(address, sha256, "pbmc_facs.RData", progress))
    save_npz(found, _cached())


def _own_copy() -> Path | None:
    """The user's copy, when it is there and the right one."""
    folder = os.environ.get("RATCHET_DATA")
    path = Path(folder) / COPY if folder else None
    if path is None or not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != COPY_SHA256:
        return None
    return path


def _read_copy(path: Path) -> Cells:
    # Its names are pickled strings. The hash was checked just now, so they are the ones that we pickled.
    with np.load(path, allow_pickle=True) as file:
        parts = (file["data"].astype(np.float32), file["indices"], file["indptr"])
        counts = sparse.csr_matrix(parts, shape=tuple(file["shape"]))
        return checked(Cells(counts, file["cell_type"].astype(np.str_), file["gene"].astype(np.str_)))


def _read_rdata(path: Path) -> Cells:
    try:
        import rdata
    except ImportError as error:
        raise UserError(
            "reading R's file format needs the package rdata; run `pip install 'ratchet-bench[rdata]'`"
        ) from error
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About classes in it that we do not use.
        return checked(from_r(rdata.read_rda(path)["pbmc_facs"]))


def from_r(found: Any) -> Cells:
    """Counts, populations and Ensembl ids of the R list: a column-compressed matrix and two data frames."""
    matrix = found["counts"]
    counts = sparse.csc_matrix((matrix.x.astype(np.float32), matrix.i, matrix.p), shape=tuple(matrix.Dim)).tocsr()
    labels = np.array(found["samples"]["subpop"].astype(str), dtype=np.str_)
    return Cells(sparse.csr_matrix(counts), labels, np.array(found["genes"]["ensembl"].astype(str), dtype=np.str_))


def checked(cells: Cells) -> Cells:
    """The same cells, if they are the ones that every score was measured on. Raises UserError."""
    if cells.counts.shape != (CELLS, GENES) or int(cells.counts.sum(dtype=np.float64)) != MOLECULES:
        raise UserError("pbmc_facs does not hold the expected counts; delete it and fetch again")
    return cells


@lru_cache(maxsize=1)
def cells() -> Cells:
    """All cells with their populations and genes. Raises UserError when they are not at hand."""
    if not _cached().is_file():
        lacking = missing()
        if lacking:
            raise UserError(lacking)
        fetch(lambda message: None)
    return load_npz(_cached())
