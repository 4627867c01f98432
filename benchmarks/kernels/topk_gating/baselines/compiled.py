"""The gate of a mixture of experts: the plain program, through torch.compile."""

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
def kernel(logits, weights, indices):
    """Write the k best experts of logits [tokens, experts] and the softmax over them into indices and weights [tokens, k]."""
    logits = logits.float()
    order = torch.argsort(logits, dim=-1, descending=True)[:, : weights.shape[1]]
    best = torch.gather(logits, 1, order)
    weights.copy_(torch.softmax(best, dim=-1))
    indices.copy_(order)
