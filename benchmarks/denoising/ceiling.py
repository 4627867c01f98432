"""How good can an answer be? Simulate counts whose true rates are known, and score the truth itself.

    python -m benchmarks.denoising.ceiling            # about two minutes on two cores; prints JSON lines

The rates are a rank-12 Poisson factorisation of `pbmc_facs`, for 800 of its cells, so they are smoother
than nature's: real cells vary in ways that twelve factors do not hold, and nobody knows those rates at all. What the
truth reaches here is therefore a bound on what an honest program can reach there.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.denoising import metrics
from benchmarks.denoising.facs import data

CELLS = 800
WEIGHTS = (0.0, 3.0, 10.0, 20.0, 30.0, 50.0)
"""Of the likelihood in `baselines/least_error.py`; 0 asks for the least error alone."""
SHOWN = ("mse_norm", "poisson_norm", "poisson_openproblems_norm", "likelihood_margin")
BASELINES = Path(__file__).parent / "baselines"


def main(seed: int = 0) -> None:
    """Fit, simulate, thin, score."""
    program: dict[str, Any] = runpy.run_path(str(BASELINES / "least_error.py"))  # our own, so it may run here
    counts = sparse.csr_matrix(data.cells().counts, dtype=np.float32)
    left, right = program["factorise"](counts, 12, 60)
    truth = left[:CELLS] @ right
    rng = np.random.default_rng(seed)
    split = metrics.thin(sparse.csr_matrix(rng.poisson(truth).astype(np.float32)), rng)
    truth = truth[:, split.kept] * 0.9
    known = metrics.marks(split)

    def show(name: str, prediction: Any) -> None:
        found = metrics.all_metrics(prediction, split, known)
        print(json.dumps({"prediction": name} | {key: round(found[key], 4) for key in SHOWN}), flush=True)

    library = np.asarray(split.train.sum(axis=1))
    show("mean cell", library * (np.asarray(split.train.sum(axis=0)) / library.sum()))
    show("true rates", truth)
    for weight in WEIGHTS:
        show(f"true rates, transformed with weight {weight:g}", program["least_error"](truth, weight))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
