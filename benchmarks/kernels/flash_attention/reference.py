"""Causal attention with grouped queries (Vaswani et al. 2017, Ainslie et al. 2023) in float64."""

from __future__ import annotations

import torch

from benchmarks.kernels.problem import Tensors


def exact(given: Tensors) -> Tensors:
    """softmax(q kᵀ / sqrt(width), keys up to the query) v; and its scale, the same with |v|. One batch entry and head at a time, so that
    long sequences fit: [tokens, tokens] float64 is 512 MiB at 8192."""  # fmt: skip
    q, k, v = given["q"], given["k"], given["v"]
    batch, heads, tokens, width = q.shape
    future = torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).triu(1)
    out, scale = torch.empty_like(q), torch.empty_like(q)
    for b in range(batch):
        for h in range(heads):
            g = h * k.shape[1] // heads
            scores = (q[b, h] @ k[b, g].T / width**0.5).masked_fill_(future, -torch.inf)
            chances = torch.softmax(scores, dim=-1)
            out[b, h], scale[b, h] = chances @ v[b, g], chances @ v[b, g].abs()
    return {"out": out, "out.scale": scale}
