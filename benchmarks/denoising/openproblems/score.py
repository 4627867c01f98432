"""`denoising-openproblems`: the published pair of data sets: tune on pancreas, be reported on PBMC 1k."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from benchmarks.denoising.cells import Cells
from benchmarks.denoising.openproblems import data
from benchmarks.denoising.score import TASK as SMALL
from benchmarks.denoising.score import Denoising
from benchmarks.task import Candidate, Split
from sandboxes.base import MIB, Limits


class DenoisingOpenProblems(Denoising):
    """Searched on pancreas (inDrop1), reported on PBMC 1k, as the published figures were."""

    name = "denoising-openproblems"
    title = "Single-cell denoising on OpenProblems' data (pancreas to search on, PBMC 1k to report)"
    limits = Limits(
        memory_bytes=8192 * MIB, cpus=2.0, wall_s=400.0, file_bytes=512 * MIB, scratch_bytes=640 * MIB, pids=128
    )
    thinnings: ClassVar[int] = 1
    optional_data = True

    def cells(self, split: Split) -> Cells:
        """See `Denoising.cells`."""
        return data.cells(data.PANCREAS if split is Split.SEARCH else data.PBMC)

    def missing(self) -> str | None:
        """See `Task.missing`."""
        return data.missing()

    def fetch(self, progress: Callable[[str], None]) -> None:
        """See `Task.fetch`."""
        data.fetch(progress)

    def seed(self) -> Candidate:
        """The seed of `denoising`: the two differ in data only."""
        return SMALL.seed()

    def baseline(self, name: str) -> Candidate:
        """A baseline of `denoising`."""
        return SMALL.baseline(name)

    def _advice(self, means: dict[str, float], split: Split) -> list[str]:
        source = data.PANCREAS if split is Split.SEARCH else data.PBMC
        return [
            *super()._advice(means, split),
            f"data file {source.file} with SHA-256 {data.digest(source)}, not pinned",
        ]


TASK = DenoisingOpenProblems()
