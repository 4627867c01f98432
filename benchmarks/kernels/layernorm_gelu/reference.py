"""Layer norm (Ba et al. 2016) followed by GELU (Hendrycks and Gimpel 2016, the form with the error function), in float64."""

from __future__ import annotations

import math

import torch

from benchmarks.kernels.problem import Tensors

EPSILON = 1e-5
"""Added to the variance."""
MEAN_ERROR = 2.0**-21
"""What an honest float32 mean errs by, as a share of the mean: a few units in the last place."""


def exact(given: Tensors, atol: float) -> Tensors:
    """GELU of the norm; and its scale, which lets a row that is far from zero err by what its float32 mean errs by."""
    x = given["x"]
    mean = x.mean(-1, keepdim=True)
    spread = torch.sqrt((x - mean).square().mean(-1, keepdim=True) + EPSILON)
    normed = (x - mean) / spread * given["weight"] + given["bias"]
    out = 0.5 * normed * (1.0 + torch.erf(normed / math.sqrt(2.0)))
    return {"out": out, "out.scale": 1.0 + mean.abs() / spread * (MEAN_ERROR / atol) * (1.0 + given["weight"].abs())}
