"""Random inputs that all kernel tasks draw from, on the generator's device.

Four laws. `normal` is the easy case. `cauchy` has outliers that no fixed scale survives. `structured` values are all
of one sign and nearly of rank one, so that sums grow with their length and a narrow accumulator loses the end of them.
`adversarial` is each task's own: inputs on which a careless program overflows, cancels or breaks a tie wrongly.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Law = Literal["normal", "cauchy", "structured", "adversarial"]
Extents = tuple[int, ...]

OUTLIER = {"float16": 1e3, "bfloat16": 1e6, "float32": 1e6}
"""Largest magnitude of a Cauchy value by dtype: a bound that keeps squares and products of float16 in its range."""


def normal(generator: torch.Generator, extents: Extents, scale: float = 1.0) -> Tensor:
    """Normal float32 values of mean 0 and the given standard deviation."""
    return torch.randn(extents, generator=generator, device=generator.device).mul_(scale)


def uniform(generator: torch.Generator, extents: Extents, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform float32 values in [low, high)."""
    return torch.rand(extents, generator=generator, device=generator.device).mul_(high - low).add_(low)


def integers(
    generator: torch.Generator, extents: Extents, low: int, high: int, dtype: torch.dtype = torch.int64
) -> Tensor:
    """Uniform whole values in [low, high)."""
    return torch.randint(low, high, extents, generator=generator, device=generator.device, dtype=dtype)


def cauchy(generator: torch.Generator, extents: Extents, dtype: str = "float32") -> Tensor:
    """A ratio of two normals is a Cauchy variable. Bounded by OUTLIER."""
    ratio = normal(generator, extents).div_(normal(generator, extents).add_(1e-12))
    return ratio.clamp_(-OUTLIER[dtype], OUTLIER[dtype])


def structured(generator: torch.Generator, extents: Extents) -> Tensor:
    """Positive, near 1, rank one up to a per cent: the last two axes are an outer product with small noise."""
    rows = uniform(generator, (*extents[:-1], 1), 0.5, 1.5)
    columns = uniform(generator, (extents[-1],), 0.5, 1.5)
    return rows * columns + normal(generator, extents, 0.01)


def values(generator: torch.Generator, extents: Extents, law: Law, dtype: str = "float32") -> Tensor:
    """Float32 values of a law that needs no task to say what it means. Raises ValueError for `adversarial`."""
    if law == "normal":
        return normal(generator, extents)
    if law == "cauchy":
        return cauchy(generator, extents, dtype)
    if law == "structured":
        return structured(generator, extents)
    raise ValueError("only a task knows what is adversarial to it")


def weight(generator: torch.Generator, rows: int, columns: int) -> Tensor:
    """A projection [rows, columns] as `torch.nn.Linear` starts one: uniform in ±1/sqrt(columns)."""
    bound = columns**-0.5
    return uniform(generator, (rows, columns), -bound, bound)
