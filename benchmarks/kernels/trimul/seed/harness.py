"""The outgoing triangle multiplicative update, one torch expression after the other."""

import torch
import torch.nn.functional as F

EPSILON = 1e-5


def normalise(x, weights):
    """Layer norm over the channels of x [B, N, N, C]."""
    return F.layer_norm(x, (x.shape[-1],), weights["norm_weight"], weights["norm_bias"], EPSILON)


def project(x, mask, weights):
    """Left and right [B, N, N, H], masked and gated, and the output's gate [B, N, N, H]."""
    left = F.linear(x, weights["left_weight"])
    right = F.linear(x, weights["right_weight"])
    left = left * mask.unsqueeze(-1) * torch.sigmoid(F.linear(x, weights["left_gate_weight"]))
    right = right * mask.unsqueeze(-1) * torch.sigmoid(F.linear(x, weights["right_gate_weight"]))
    gate = torch.sigmoid(F.linear(x, weights["out_gate_weight"]))
    return left, right, gate


def triangle(left, right):
    """Sum over k of left[b, i, k, d] * right[b, j, k, d]: [B, N, N, H]."""
    return torch.einsum("bikd,bjkd->bijd", left, right)


def finish(product, gate, weights, out):
    """Layer norm over H, gate, and project back into out [B, N, N, C]."""
    product = F.layer_norm(product, (product.shape[-1],), weights["out_norm_weight"], weights["out_norm_bias"], EPSILON)
    out.copy_(F.linear(product * gate, weights["out_weight"]))


def kernel(x, mask, weights, out):
    """Write the update of x [B, N, N, C] under mask [B, N, N] into out."""
    x = normalise(x, weights)
    left, right, gate = project(x, mask, weights)
    product = triangle(left, right)
    finish(product, gate, weights, out)
