"""Causal attention: the plain program, through torch.compile."""

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
