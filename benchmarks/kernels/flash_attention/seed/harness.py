"""Causal attention with grouped queries, the whole matrix of scores written out."""

import torch


def kernel(q, k, v, out):
    """Write attention of q [B, H, T, D] over k and v [B, G, T, D] into out; H / G heads share a key head."""
    _, heads, tokens, width = q.shape
    shared = heads // k.shape[1]
    k = k.float().repeat_interleave(shared, dim=1)
    v = v.float().repeat_interleave(shared, dim=1)
    scores = torch.matmul(q.float(), k.transpose(2, 3)) / width**0.5
    future = torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).triu(1)
    scores = scores.masked_fill(future, float("-inf"))
    out.copy_(torch.matmul(torch.softmax(scores, dim=-1), v))
