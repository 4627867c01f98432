"""Score one prediction at the size of the largest published data set, in at most 8 GiB of address space.

    python tests/benchmarks/denoising/full_size.py 24540 16122

Prints one JSON line: the losses, seconds, and the peak of resident memory in MiB. Run as a process of its own, because
the limit and the peak are a process's.
"""

import json
import resource
import sys
import time

import numpy as np
from scipy import sparse

from benchmarks.denoising import metrics


def counts_like_lung(cells: int, genes: int, each: int = 1400) -> sparse.csr_matrix:
    """Counts with about 1,400 entries a cell, as droplets of lung have; frequent genes and rare ones."""
    rng = np.random.default_rng(0)
    columns = (genes * rng.random((cells, each), dtype=np.float32) ** 3).astype(np.int32)
    columns.sort(axis=1)
    starts = np.arange(0, cells * each + 1, each)
    made = sparse.csr_matrix((np.ones(cells * each, dtype=np.float32), columns.ravel(), starts), shape=(cells, genes))
    made.sum_duplicates()
    return made


def main(cells: int, genes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    begun = time.monotonic()
    split = metrics.thin(counts_like_lung(cells, genes), np.random.default_rng(1))
    prediction = np.full(split.train.shape, 0.01, dtype=np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = metrics.all_metrics(prediction, split)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({
        "shape": split.train.shape, "losses": found, "seconds": round(time.monotonic() - begun, 1),
        "peak_mib": round(peak), "peak_before_metrics_mib": round(before),
        "prediction_mib": round(prediction.nbytes / 2**20),
    }))  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
