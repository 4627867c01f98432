"""The gate of a mixture of experts (Shazeer et al. 2017), and what makes an answer right when experts tie."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.kernels.problem import Tensors, Tolerance, out_of_tolerance


def exact(given: Tensors, k: int) -> Tensors:
    """The k largest logits of a row, their indices, and the softmax over those k alone; and the logits, for `compare`."""
    logits = given["logits"]
    best, indices = logits.topk(k, dim=-1)
    return {"weights": torch.softmax(best, dim=-1), "indices": indices, "best": best, "logits": logits}


def compare(weights: Tensor, indices: Tensor, answer: Tensors, tolerance: Tolerance) -> str | None:
    """What is wrong with a choice, or None. Any choice among equal logits is right, in any order.

    An index must name an expert, and none twice. The chosen logits, sorted, must be the k largest, bit for bit: they are inputs, and
    comparing needs no rounding. The weights must be the softmax over the logits that were chosen.
    """
    logits, indices = answer["logits"], indices.long()
    strange = (indices < 0) | (indices >= logits.shape[1])
    if bool(strange.any()):
        return f"indices: {int(strange.sum())} of {indices.numel()} name no expert"
    ordered = indices.sort(dim=-1).values
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(dim=-1)
    if bool(twice.any()):
        return f"indices: {int(twice.sum())} of {len(indices)} tokens have an expert twice"
    chosen = logits.gather(1, indices)
    worse = (chosen.sort(dim=-1, descending=True).values != answer["best"]).any(dim=-1)
    if bool(worse.any()):
        return f"indices: {int(worse.sum())} of {len(indices)} tokens have an expert that is not among their best"
    return out_of_tolerance("weights", weights, torch.softmax(chosen, dim=-1), tolerance)
