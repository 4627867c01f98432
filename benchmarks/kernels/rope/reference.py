"""Rotary position embedding (Su et al. 2021), halves paired as in GPT-NeoX, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.kernels.problem import Tensors


def rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """x [B, T, H, D] turned by the angles of cosine and sine [B, T, 1, D/2]; and the length of each pair."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    length = torch.hypot(first, second)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
    return turned, torch.cat([length, length], dim=-1)


def exact(given: Tensors) -> Tensors:
    """q and k, rotated; their scales are the lengths of the pairs, which a rotation keeps."""
    places = given["positions"].long()
    cosine, sine = given["cosines"][places][:, :, None], given["sines"][places][:, :, None]
    q, q_scale = rotated(given["q"], cosine, sine)
    k, k_scale = rotated(given["k"], cosine, sine)
    return {"q_out": q, "k_out": k, "q_out.scale": q_scale, "k_out.scale": k_scale}
