"""The linear layer with SiLU: the plain program, through torch.compile."""

import os

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", "/scratch/inductor")

import torch
import torch._dynamo
import torch._inductor.config

# One compiler at a time and no precompiled header: the sandbox has few processes and little room.
torch._inductor.config.compile_threads = 1
torch._inductor.config.cpp_cache_precompile_headers = False
torch._dynamo.config.recompile_limit = 64


# On a CPU one program serves all extents, for each takes the compiler ten seconds; on a GPU each gets its own.
@torch.compile(dynamic=not torch.cuda.is_available())
def kernel(x, weight, bias, out):
    """Write SiLU of x [m, k] times weight [n, k] transposed, plus bias [n], into out [m, n]."""
    hidden = torch.matmul(x, weight.t()).float()
    hidden = hidden + bias.float()
    out.copy_(hidden * torch.sigmoid(hidden))
