"""The two data sets that OpenProblems publishes for denoising: pancreas (Baron et al. 2016, inDrop1) and PBMC 1k (10x).

Figshare tells no hash that could be checked in advance, so the hash of the first download is noted, kept to and told
with each score, and the content is checked: whole counts, the expected cells. A file that is already here is taken
from `$RATCHET_DATA/openproblems-pancreas.h5ad` or `$RATCHET_DATA/openproblems-pbmc.h5ad`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.denoising.cells import Cells, load_npz, read_h5ad, save_npz
from benchmarks.fetch import http_file_unpinned
from results.store import write_atomically
from sandboxes.base import UserError
from sandboxes.cache import cache_dir

ADDRESS = "https://ndownloader.figshare.com/files/"


@dataclass(frozen=True)
class Source:
    """One published data set."""

    name: str
    file: int
    """Figshare's number of the file."""
    least_cells: int
    label: str | None = None
    """The column of `obs` that holds the populations."""
    only: tuple[str, str] | None = None
    """A column of `obs` and the value to keep: the published figures are for one technique."""
    none: tuple[float, float] = (0.0, 0.0)
    """Published losses of the training counts as they are: mse and `poisson_openproblems`."""
    perfect: tuple[float, float] = (0.0, 0.0)
    """Published losses of the test counts."""


PANCREAS = Source(
    "pancreas", 36086813, 1500, "celltype", ("tech", "inDrop1"), (0.304721, 0.257575), (0.0, 0.031739)
)  # fmt: skip
PBMC = Source("pbmc", 36088667, 900, none=(0.270945, 0.300447), perfect=(0.0, 0.043569))
SOURCES = (PANCREAS, PBMC)


def _cached(source: Source) -> Path:
    return cache_dir() / "denoising" / f"openproblems-{source.name}-{source.file}.npz"


def missing() -> str | None:
    """None when both sets are at hand, else one line that says how to get them."""
    if all(_cached(source).is_file() or _own_copy(source) for source in SOURCES):
        return None
    return "OpenProblems' data are not here: run `ratchet data fetch denoising-openproblems` (figshare, about 350 MB)"


def fetch(progress: Callable[[str], None], address: str = ADDRESS) -> None:
    """Bring both sets into the cache unless they are there. Raises UserError."""
    for source in SOURCES:
        if not _cached(source).is_file():
            path = _own_copy(source) or http_file_unpinned(f"{address}{source.file}", f"{source.name}.h5ad", progress)
            progress(f"{source.name}: reading its counts")
            save_npz(read(path, source), _cached(source))
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            write_atomically(_cached(source).with_suffix(".sha256"), digest.encode())


def _own_copy(source: Source) -> Path | None:
    folder = os.environ.get("RATCHET_DATA")
    path = Path(folder) / f"openproblems-{source.name}.h5ad" if folder else None
    return path if path is not None and path.is_file() else None


def read(path: Path, source: Source) -> Cells:
    """The counts of a set, filtered as OpenProblems filters them. Raises UserError when it is another file."""
    found = read_h5ad(path, source.label)
    if source.only is not None:
        column, value = source.only
        chosen = read_h5ad(path, column).labels
        found = found.rows(np.flatnonzero(chosen == value))
    found = found.filtered()
    if found.counts.shape[0] < source.least_cells:
        raise UserError(f"{path.name} holds {found.counts.shape[0]} cells of {source.name}, fewer than published")
    return found


@lru_cache(maxsize=2)
def cells(source: Source) -> Cells:
    """One set. Raises UserError when it is not at hand."""
    if not _cached(source).is_file():
        lacking = missing()
        if lacking:
            raise UserError(lacking)
        fetch(lambda message: None)
    return load_npz(_cached(source))


def digest(source: Source) -> str:
    """SHA-256 (hex) of the file that the cells in the cache were read from."""
    return _cached(source).with_suffix(".sha256").read_text()
