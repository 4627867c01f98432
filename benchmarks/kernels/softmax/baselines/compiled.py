"""Softmax: the plain program, through torch.compile."""

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
def kernel(x, out):
    """Write softmax of x [rows, cols] over the columns into out."""
    x = x.float()
    powers = torch.exp(x - x.amax(dim=-1, keepdim=True))
    out.copy_(powers / powers.sum(dim=-1, keepdim=True))
