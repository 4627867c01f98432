"""TriMul: the plain program, through torch.compile."""

import os

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", "/scratch/inductor")

import torch
import torch._dynamo
import torch._inductor.config
import torch.nn.functional as F

# One compiler at a time and no precompiled header: the sandbox has few processes and little room.
torch._inductor.config.compile_threads = 1
torch._inductor.config.cpp_cache_precompile_headers = False
torch._dynamo.config.recompile_limit = 64

EPSILON = 1e-5
PROJECT_IN = "float32"
MULTIPLY_IN = "float32"


def normalise(x, weights):
    """Layer norm over the channels of x [B, N, N, C]."""
    return F.layer_norm(x, (x.shape[-1],), weights["norm_weight"], weights["norm_bias"], EPSILON)


def linear(x, weight):
    """x [..., C] times weight [H, C] transposed, in the precision PROJECT_IN."""
    precision = getattr(torch, PROJECT_IN)
    return F.linear(x.to(precision), weight.to(precision)).float()


def gated(values, gates, mask):
    """values [B, N, N, H] times mask [B, N, N, 1] times the sigmoid of gates [B, N, N, H]."""
    return values * mask * torch.sigmoid(gates)


def project(x, mask, weights):
    """Left and right [B, N, N, H], masked and gated, and the gates of the output [B, N, N, H]."""
    mask = mask.unsqueeze(-1)
    left = gated(linear(x, weights["left_weight"]), linear(x, weights["left_gate_weight"]), mask)
    right = gated(linear(x, weights["right_weight"]), linear(x, weights["right_gate_weight"]), mask)
    return left, right, linear(x, weights["out_gate_weight"])


def triangle(left, right):
    """Sum over k of left[b, i, k, d] * right[b, j, k, d], in the precision MULTIPLY_IN: [B, N, N, H]."""
    precision = getattr(torch, MULTIPLY_IN)
    return torch.einsum("bikd,bjkd->bijd", left.to(precision), right.to(precision)).float()


def gated_norm(product, gates, weights):
    """Layer norm over H of product [B, N, N, H], times the sigmoid of gates."""
    product = F.layer_norm(product, (product.shape[-1],), weights["out_norm_weight"], weights["out_norm_bias"], EPSILON)
    return product * torch.sigmoid(gates)


def write(hidden, weight, out):
    """Project hidden [B, N, N, H] back with weight [C, H], into out [B, N, N, C]."""
    out.copy_(linear(hidden, weight))


# On a CPU one program serves all extents, for each takes the compiler ten seconds; on a GPU each gets its own.
@torch.compile(dynamic=not torch.cuda.is_available())
def kernel(x, mask, weights, out):
    """Write the update of x [B, N, N, C] under mask [B, N, N] into out."""
    x = normalise(x, weights)
    left, right, gates = project(x, mask, weights)
    write(gated_norm(triangle(left, right), gates, weights), weights["out_weight"], out)
