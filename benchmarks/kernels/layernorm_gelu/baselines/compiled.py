"""Layer norm and GELU: the plain program, through torch.compile."""

import math
import os

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", "/scratch/inductor")

import torch
import torch._dynamo
import torch._inductor.config

# One compiler at a time and no precompiled header: the sandbox has few processes and little room.
torch._inductor.config.compile_threads = 1
torch._inductor.config.cpp_cache_precompile_headers = False
torch._dynamo.config.recompile_limit = 64

EPSILON = 1e-5


# On a CPU one program serves all extents, for each takes the compiler ten seconds; on a GPU each gets its own.
@torch.compile(dynamic=not torch.cuda.is_available())
def kernel(x, weight, bias, out):
    """Write GELU (with the error function) of the layer norm of x [rows, cols] into out."""
    x = x.float()
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    normed = centred * torch.rsqrt(variance + EPSILON) * weight.float() + bias.float()
    out.copy_(0.5 * normed * (1.0 + torch.erf(normed / math.sqrt(2.0))))
