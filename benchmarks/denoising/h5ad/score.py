"""`denoising-h5ad`: the same measures on your own cells. `RATCHET_H5AD` names the file; half its cells are searched on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.denoising.cells import Cells, read_h5ad
from benchmarks.denoising.data import SPLIT_SEED
from benchmarks.denoising.score import TASK as SMALL
from benchmarks.denoising.score import Denoising
from benchmarks.task import Candidate, Split
from sandboxes.base import MIB, Limits, UserError


def _file() -> Path | None:
    named = os.environ.get("RATCHET_H5AD")
    return Path(named) if named else None


class DenoisingH5ad(Denoising):
    """Any `.h5ad` with raw counts; `RATCHET_H5AD_LABEL` may name the column of `obs` with the populations."""

    name = "denoising-h5ad"
    title = "Single-cell denoising on your own .h5ad file (RATCHET_H5AD)"
    limits = Limits(
        memory_bytes=12_288 * MIB, cpus=2.0, wall_s=600.0, file_bytes=2048 * MIB, scratch_bytes=3072 * MIB, pids=128
    )
    thinnings: ClassVar[int] = 1
    optional_data = True

    def cells(self, split: Split) -> Cells:
        """See `Denoising.cells`. The halves are fixed by the number of cells."""
        path = _file()
        if path is None or not path.is_file():
            raise UserError(self.missing() or f"no such file: {path}")
        found = read_h5ad(path, os.environ.get("RATCHET_H5AD_LABEL") or None).filtered()
        order = np.random.default_rng(SPLIT_SEED).permutation(found.counts.shape[0])
        half = len(order) // 2
        if half < 2:
            raise UserError(f"{path.name} has {len(order)} cells; at least 4 are needed")
        return found.rows(np.sort(order[:half] if split is Split.SEARCH else order[half:]))

    def missing(self) -> str | None:
        """See `Task.missing`."""
        path = _file()
        if path is None:
            return "no file named: set RATCHET_H5AD to an .h5ad file with raw counts"
        return None if path.is_file() else f"RATCHET_H5AD names no file: {path}"

    def fetch(self, progress: Callable[[str], None]) -> None:
        """Nothing to fetch: the file is yours. Raises UserError when it is not there."""
        lacking = self.missing()
        if lacking:
            raise UserError(lacking)

    def seed(self) -> Candidate:
        """The seed of `denoising`: the two differ in data only."""
        return SMALL.seed()

    def baseline(self, name: str) -> Candidate:
        """A baseline of `denoising`."""
        return SMALL.baseline(name)

    def _advice(self, means: dict[str, float], split: Split) -> list[str]:
        path = _file()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
        return [*super()._advice(means, split), f"measured on a private file with SHA-256 {digest}"]


TASK = DenoisingH5ad()
