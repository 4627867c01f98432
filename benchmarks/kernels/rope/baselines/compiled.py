"""Rotary embedding: the plain program, through torch.compile."""

import os

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", "/scratch/inductor")

import torch
import torch._dynamo
import torch._inductor.config

# One compiler at a time and no precompiled header: the sandbox has few processes and little room.
torch._inductor.config.compile_threads = 1
torch._inductor.config.cpp_cache_precompile_headers = False
torch._dynamo.config.recompile_limit = 64


def rotate(x, cosine, sine):
    """x [B, T, H, D] turned by the angles of cosine and sine [B, T, 1, D/2]; the first half pairs with the second."""
    half = x.shape[-1] // 2
    x = x.float()
    swapped = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * torch.cat([cosine, cosine], dim=-1) + swapped * torch.cat([sine, sine], dim=-1)


# On a CPU one program serves all extents, for each takes the compiler ten seconds; on a GPU each gets its own.
@torch.compile(dynamic=not torch.cuda.is_available())
def kernel(q, k, positions, cosines, sines, q_out, k_out):
    """Write q [B, T, H, D] and k [B, T, G, D], rotated by rows `positions` [B, T] of the tables [P, D/2]."""
    cosine = cosines[positions.long()].unsqueeze(2)
    sine = sines[positions.long()].unsqueeze(2)
    q_out.copy_(rotate(q, cosine, sine))
    k_out.copy_(rotate(k, cosine, sine))
