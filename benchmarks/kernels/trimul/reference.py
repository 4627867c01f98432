"""The outgoing triangle multiplicative update in float64: what every output is checked against.

Jumper et al. 2021, supplement, algorithm 11; Abramson et al. 2024. Sizes: x [B, N, N, C], mask [B, N, N], H = 128.
The equation, with its tensors' names, is in this folder's README.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmarks.kernels.problem import Tensors

HIDDEN = 128
"""Channels of the left and right projections, H."""
EPSILON = 1e-5
"""Added to the variance in both layer norms."""


def normalised(values: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Layer norm over the last axis, with the biased variance."""
    centred = values - values.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + EPSILON) * scale + shift


def trimul(x: Tensor, mask: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """The update [B, N, N, C], in the dtype and on the device of `x`."""
    x = normalised(x, weights["norm_weight"], weights["norm_bias"])
    left = x @ weights["left_weight"].T * mask[..., None] * torch.sigmoid(x @ weights["left_gate_weight"].T)
    right = x @ weights["right_weight"].T * mask[..., None] * torch.sigmoid(x @ weights["right_gate_weight"].T)
    # One matrix product for each (b, d): rows i, columns j, summed over k.
    product = torch.matmul(left.permute(0, 3, 1, 2), right.permute(0, 3, 2, 1)).permute(0, 2, 3, 1)
    product = normalised(product, weights["out_norm_weight"], weights["out_norm_bias"])
    return product * torch.sigmoid(x @ weights["out_gate_weight"].T) @ weights["out_weight"].T


def exact(given: Tensors) -> Tensors:
    """The update of inputs named as on the wire (`weights.norm_weight`, …)."""
    named = {name.removeprefix("weights."): tensor for name, tensor in given.items()}
    return {"out": trimul(named.pop("x"), named.pop("mask"), named)}
