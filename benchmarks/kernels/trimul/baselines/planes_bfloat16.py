"""TriMul as in `planes`, with every matrix product in bfloat16. The best we know for a CPU with AVX512-BF16 or AMX."""

import torch
import torch.nn.functional as F

EPSILON = 1e-5
NAMES = ("left", "right", "left_gate", "right_gate", "out_gate")


@torch.inference_mode()
def kernel(x, mask, weights, out):
    """Write the update of x [B, N, N, C] under mask [B, N, N] into out."""
    channels = x.shape[-1]
    rows = F.layer_norm(x, (channels,), weights["norm_weight"], weights["norm_bias"], EPSILON).view(-1, channels)
    stacked = torch.cat([weights[name + "_weight"] for name in NAMES]).bfloat16()
    # [5, H, B, N, N]: each channel of each projection is a plane of its own. What stands between the products is
    # computed in float32, which is quicker here than bfloat16 and keeps the error of the products alone.
    planes = torch.mm(stacked, rows.bfloat16().t()).float().view(5, -1, *mask.shape)
    left, right, left_gates, right_gates, gates = planes
    left = left_gates.sigmoid_().mul_(mask).mul_(left).bfloat16()
    right = right_gates.sigmoid_().mul_(mask).mul_(right).bfloat16()
    product = torch.matmul(left, right.transpose(2, 3)).permute(1, 2, 3, 0).float()
    hidden = product.shape[-1]
    product = F.layer_norm(product, (hidden,), weights["out_norm_weight"], weights["out_norm_bias"], EPSILON)
    product.mul_(gates.sigmoid_().permute(1, 2, 3, 0))
    out.view(-1, channels).copy_(torch.mm(product.view(-1, hidden).bfloat16(), weights["out_weight"].bfloat16().t()))
