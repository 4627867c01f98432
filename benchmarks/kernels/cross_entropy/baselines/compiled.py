"""Cross entropy: the plain program, through torch.compile."""

import os

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", "/scratch/inductor")

import torch
import torch._dynamo
import torch._inductor.config

# One compiler at a time and no precompiled header: the sandbox has few processes and little room.
torch._inductor.config.compile_threads = 1
torch._inductor.config.cpp_cache_precompile_headers = False
torch._dynamo.config.recompile_limit = 64

IGNORED = -100


# On a CPU one program serves all extents, for each takes the compiler ten seconds; on a GPU each gets its own.
@torch.compile(dynamic=not torch.cuda.is_available())
def kernel(logits, targets, loss):
    """Write the loss of logits [rows, vocab] against targets [rows] into loss [rows]; 0 where the target is ignored."""
    logits = logits.float()
    logits = logits - logits.amax(dim=-1, keepdim=True)
    total = torch.exp(logits).sum(dim=-1).log()
    told = logits.gather(1, targets.clamp(min=0).unsqueeze(1)).squeeze(1)
    loss.copy_(torch.where(targets == IGNORED, torch.zeros_like(total), total - told))
