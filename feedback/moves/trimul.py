"""Moves for the TriMul task: fewer and larger matrix products, layouts that need no copy, and lower precision.

Each move replaces whole functions of fixed names (`linear`, `gated`, `project`, `triangle`, `gated_norm`, `write`) or
turns a constant. All versions of a function take and give tensors of the same logical shape, [B, N, N, H], and differ
in strides only, so moves compose in any order. Weights are new in every launch: packing them ahead can't pay.
"""

from __future__ import annotations

from agents.edits import EditError, function_source, replace_function, set_constant
from feedback.moves import move

TASK = "trimul"

ONE_PRODUCT = '''
def project(x, mask, weights):
    """Left and right [B, N, N, H], masked and gated, and the gates of the output: one matrix product for all five."""
    names = ("left", "right", "left_gate", "right_gate", "out_gate")
    stacked = torch.cat([weights[name + "_weight"] for name in names])
    left, right, left_gates, right_gates, gates = linear(x, stacked).chunk(5, dim=-1)
    mask = mask.unsqueeze(-1)
    return gated(left, left_gates, mask), gated(right, right_gates, mask), gates
'''

CHANNELS_FIRST = '''
def project(x, mask, weights):
    """Left, right and the output's gates, logically [B, N, N, H], in memory [H, B, N, N]: one product for all five."""
    names = ("left", "right", "left_gate", "right_gate", "out_gate")
    precision = getattr(torch, PROJECT_IN)
    stacked = torch.cat([weights[name + "_weight"] for name in names]).to(precision)
    rows = x.reshape(-1, x.shape[-1]).to(precision)
    planes = torch.mm(stacked, rows.t()).float().view(5, -1, *mask.shape)
    left, right, left_gates, right_gates, gates = planes.permute(0, 2, 3, 4, 1)
    mask = mask.unsqueeze(-1)
    return gated(left, left_gates, mask), gated(right, right_gates, mask), gates
'''

BATCHED_MATMUL = '''
def triangle(left, right):
    """Sum over k of left[b, i, k, d] * right[b, j, k, d]: one matrix product for each channel d and batch b."""
    precision = getattr(torch, MULTIPLY_IN)
    left = left.to(precision).permute(3, 0, 1, 2).contiguous()
    right = right.to(precision).permute(3, 0, 1, 2).contiguous()
    return torch.matmul(left, right.transpose(2, 3)).permute(1, 2, 3, 0).float()
'''

GATED_IN_PLACE = '''
def gated(values, gates, mask):
    """values [B, N, N, H] times mask [B, N, N, 1] times the sigmoid of gates, in the memory of gates."""
    return gates.sigmoid_().mul_(mask).mul_(values)
'''

NORM_IN_PLACE = '''
def gated_norm(product, gates, weights):
    """Layer norm over H of product [B, N, N, H], times the sigmoid of gates, whose memory it overwrites."""
    product = F.layer_norm(product, (product.shape[-1],), weights["out_norm_weight"], weights["out_norm_bias"], EPSILON)
    return product.mul_(gates.sigmoid_())
'''

WRITE_INTO_OUT = '''
def write(hidden, weight, out):
    """Project hidden [B, N, N, H] back with weight [C, H], straight into out [B, N, N, C]."""
    precision = getattr(torch, PROJECT_IN)
    rows = hidden.reshape(-1, hidden.shape[-1]).to(precision)
    target = out.view(-1, out.shape[-1])
    if precision is out.dtype:
        torch.mm(rows, weight.t(), out=target)
    else:
        target.copy_(torch.mm(rows, weight.to(precision).t()))
'''

NORMALISE_AND_CAST = '''
def normalise(x, weights):
    """Layer norm over the channels of x [B, N, N, C], cast once to the precision PROJECT_IN."""
    x = F.layer_norm(x, (x.shape[-1],), weights["norm_weight"], weights["norm_bias"], EPSILON)
    return x.to(getattr(torch, PROJECT_IN))
'''


def _with(source: str, name: str, text: str) -> str:
    return replace_function(source, name, text.strip("\n"))


@move(TASK)
def one_projection(source: str) -> str:
    """Stack the five projections into one matrix product: x is read once and the product is larger."""
    if "planes" in function_source(source, "project"):
        raise EditError("the projections are one product already")
    return _with(source, "project", ONE_PRODUCT)


@move(TASK)
def project_in_bfloat16(source: str) -> str:
    """Multiply the projections in bfloat16, which has twice to four times the rate where the CPU knows it."""
    return set_constant(source, "PROJECT_IN", "bfloat16")


@move(TASK)
def batched_matmul(source: str) -> str:
    """Sum over k by one matrix product per channel on contiguous [N, N] planes, in place of einsum."""
    return _with(source, "triangle", BATCHED_MATMUL)


@move(TASK)
def channels_first(source: str) -> str:
    """Let one product write the projections channel by channel, so that the sum over k finds its planes without a copy."""
    return _with(source, "project", CHANNELS_FIRST)


@move(TASK)
def multiply_in_bfloat16(source: str) -> str:
    """Sum over k in bfloat16: half the memory traffic and a faster product; the norm after it forgives the rounding."""
    return set_constant(source, "MULTIPLY_IN", "bfloat16")


@move(TASK)
def gate_in_place(source: str) -> str:
    """Compute sigmoids and gated values in the memory of the gates: no temporaries to allocate and fault in."""
    return _with(_with(source, "gated", GATED_IN_PLACE), "gated_norm", NORM_IN_PLACE)


@move(TASK)
def write_into_out(source: str) -> str:
    """Let the last product write into `out`, in place of a temporary and a copy."""
    return _with(source, "write", WRITE_INTO_OUT)


@move(TASK)
def cast_once(source: str) -> str:
    """Cast the normalised x once, in place of once for each projection."""
    return _with(source, "normalise", NORMALISE_AND_CAST)


@move(TASK)
def inference_mode(source: str) -> str:
    """Run without autograd's bookkeeping for each tensor."""
    text = function_source(source, "kernel")
    # The decorator stands before the text of the function, so it is looked for in the whole program.
    if "@torch.inference_mode()" in source:
        return source
    return _with(source, "kernel", "@torch.inference_mode()\n" + text)
