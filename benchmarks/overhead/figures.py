"""What was measured, as it is kept: raw values by chunk, and the figures that follow from all chunks together."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from results.provenance import Provenance, provenance
from results.store import write_atomically

Array = npt.NDArray[np.float64]
RESAMPLES = 4000


class Chunk(BaseModel):
    """One stretch of interleaved rounds: value i of every way was taken in the same round i."""

    model_config = ConfigDict(frozen=True)

    what: str
    """`round_trip` (s), `exec_in_reused_container` (s) or `two_at_once` (candidates per second)."""
    program: str
    """Name of the workload."""
    reference: str
    """The way that ratios are taken to."""
    values: dict[str, list[float]]
    """By way, in the order of the rounds."""
    steps: dict[str, dict[str, list[float]]] = Field(default_factory=dict)
    """Seconds of each step of a round trip, by way and step; of the peers only."""
    facts: dict[str, dict[str, str]]
    """Versions and settings: of each peer, of the engine, and the images' names."""
    load_average: float
    """Of the last minute, when the chunk began."""
    created: str
    provenance: Provenance = Field(default_factory=provenance)


class Figure(BaseModel):
    """One row: what one way costs."""

    model_config = ConfigDict(frozen=True)

    what: str
    program: str
    way: str
    unit: str
    n: int
    p50: float
    p99: float | None
    """Only from 100 values on: of fewer it would be the largest by another name."""
    least: float
    most: float
    ratio: float
    """p50 over the p50 of the reference."""
    ratio_interval: tuple[float, float]
    """95 %, bootstrapped over rounds, in which way and reference stand side by side."""


class Figures(BaseModel):
    """The file."""

    figures: list[Figure] = Field(default_factory=list)
    chunks: list[Chunk] = Field(default_factory=list)


def ratio_of_medians(values: Array, reference: Array, *, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """Median of `values` over median of `reference`, both shape [n] and taken round by round, with its 95 % interval.

    The percentile bootstrap draws rounds, not values: a slow stretch of the machine slows both, and stays paired.
    Raises ValueError unless both have the same length of at least two.
    """
    if values.shape != reference.shape or values.ndim != 1 or values.size < 2:
        raise ValueError(f"a paired ratio needs two vectors of one length, got {values.shape} and {reference.shape}")
    picks = np.random.default_rng(seed).integers(0, values.size, size=(RESAMPLES, values.size))
    ratios = np.median(values[picks], axis=1) / np.median(reference[picks], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(np.median(values) / np.median(reference)), (float(low), float(high))


def figures(chunks: list[Chunk]) -> list[Figure]:
    """The rows that follow from the raw values, a group of chunks with one thing measured and one workload at a time."""
    rows = []
    ordered = sorted(chunks, key=lambda c: (c.what, c.program, c.reference, sorted(c.values)))
    for (what, program, reference, ways), group in itertools.groupby(
        ordered, key=lambda c: (c.what, c.program, c.reference, sorted(c.values))
    ):
        together = list(group)
        joined = {way: np.array([v for c in together for v in c.values[way]]) for way in ways}
        for way, values in joined.items():
            ratio, interval = ratio_of_medians(values, joined[reference])
            rows.append(
                Figure(
                    what=what, program=program, way=way, n=values.size, ratio=ratio, ratio_interval=interval,
                    unit="candidates/s" if what == "two_at_once" else "s", p50=float(np.median(values)),
                    p99=float(np.quantile(values, 0.99)) if values.size >= 100 else None,
                    least=float(values.min()), most=float(values.max()),
                )
            )  # fmt: skip
    return rows


def add(path: Path, chunk: Chunk) -> Figures:
    """Add a chunk to a file, which is made if it is missing, and work the rows out again. Whole, or not at all."""
    before = Figures.model_validate_json(path.read_bytes()).chunks if path.exists() else []
    chunks = [*before, chunk]
    made = Figures(figures=figures(chunks), chunks=chunks)
    write_atomically(path, (made.model_dump_json(indent=1) + "\n").encode())
    return made
