"""Cross entropy in Triton: one pass over a row, with a running maximum and a running sum."""

import triton
import triton.language as tl

IGNORED = -100


@triton.jit
def cross_entropy(logits, targets, loss, vocab, IGNORED: tl.constexpr, WIDTH: tl.constexpr):
    """One row of logits a program; a row whose target is ignored is not read."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.load(targets + row)
    if target == IGNORED:
        tl.store(loss + row, 0.0)
    else:
        at = tl.arange(0, WIDTH)
        line = logits + row * vocab
        largest = tl.full((), float("-inf"), tl.float32)
        total = tl.zeros((), tl.float32)
        for start in range(0, vocab, WIDTH):
            values = tl.load(line + start + at, mask=start + at < vocab, other=float("-inf")).to(tl.float32)
            now = tl.maximum(largest, tl.max(values, 0))
            total = total * tl.exp(largest - now) + tl.sum(tl.exp(values - now), 0)
            largest = now
        told = tl.load(line + target).to(tl.float32)
        tl.store(loss + row, tl.log(total) + (largest - told))


def kernel(logits, targets, loss):
    """Write the loss of logits [rows, vocab] against targets [rows] into loss [rows]; 0 where the target is ignored."""
    rows, vocab = logits.shape
    width = min(8192, triton.next_power_of_2(vocab))
    warps = min(16, max(1, width // 512))
    cross_entropy[(rows,)](logits, targets, loss, vocab, IGNORED=IGNORED, WIDTH=width, num_warps=warps)
