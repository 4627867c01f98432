"""Rotary embedding of queries and keys, one torch expression after the other."""

import torch


def rotate(x, cosine, sine):
    """x [B, T, H, D] turned by the angles of cosine and sine [B, T, 1, D/2]; the first half pairs with the second."""
    half = x.shape[-1] // 2
    x = x.float()
    swapped = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * torch.cat([cosine, cosine], dim=-1) + swapped * torch.cat([sine, sine], dim=-1)


def kernel(q, k, positions, cosines, sines, q_out, k_out):
    """Write q [B, T, H, D] and k [B, T, G, D], rotated by rows `positions` [B, T] of the tables [P, D/2]."""
    cosine = cosines[positions.long()].unsqueeze(2)
    sine = sines[positions.long()].unsqueeze(2)
    q_out.copy_(rotate(q, cosine, sine))
    k_out.copy_(rotate(k, cosine, sine))
