"""The cross entropy of each row in float64."""

from __future__ import annotations

import torch

from benchmarks.kernels.problem import Tensors

IGNORED = -100
"""A target that means: this row has no loss."""
LOGIT_ERROR = 2.0**-20
"""What an honest float32 program errs by, as a share of the row's largest logit: the loss is a difference of such."""


def exact(given: Tensors, atol: float) -> Tensors:
    """log sum exp of the logits minus the target's logit, 0 where the target is ignored; and its scale."""
    logits, targets = given["logits"], given["targets"]
    largest = logits.amax(-1, keepdim=True)
    total = torch.exp(logits - largest).sum(-1).log() + largest[:, 0]
    told = logits.gather(1, targets.clamp(min=0)[:, None])[:, 0]
    scale = 1.0 + logits.abs().amax(-1) * (LOGIT_ERROR / atol)
    return {"loss": torch.where(targets == IGNORED, 0.0, total - told), "loss.scale": scale}
