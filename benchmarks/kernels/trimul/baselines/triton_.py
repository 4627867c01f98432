"""TriMul in Triton, three kernels, from the equation in the task's README.

    project   norm over C, five projections, gates and mask: left and right as bfloat16 planes [B, H, N, N], out gates [pairs, H]
    triangle  one matrix product for each plane
    finish    norm over H, gate, projection back to C

What is written between them is bfloat16: 2 + 2 + 1 planes of H channels, against C float32 channels in and out. Sums, norms and
sigmoids are float32.
"""

import torch
import triton
import triton.language as tl

EPSILON = 1e-5
PAIRS, PART = 128, 64
NAMES = ("left", "left_gate", "right", "right_gate", "out_gate")


@triton.jit
def normed(x, row, start, channels, inside, mean, spread, scale, shift, DEEP: tl.constexpr):
    """Channels from `start` on of rows of x, normalised and rounded: [PAIRS, DEEP] bfloat16, zero past the end."""
    channel = start + tl.arange(0, DEEP)
    within = channel < channels
    values = tl.load(x + row[:, None] * channels + channel[None, :], mask=inside[:, None] & within[None, :], other=0.0)
    by = tl.load(scale + channel, mask=within, other=0.0)[None, :]
    plus = tl.load(shift + channel, mask=within, other=0.0)[None, :]
    return ((values - mean[:, None]) / spread[:, None] * by + plus).to(tl.bfloat16)


@triton.jit
def columns(weights, first, start, channels, PART: tl.constexpr, DEEP: tl.constexpr):
    """Channels from `start` on of PART rows, from `first` on, of the five projections, transposed: [DEEP, PART]."""
    channel = start + tl.arange(0, DEEP)
    hidden = first + tl.arange(0, PART)
    return tl.load(weights + hidden[None, :] * channels + channel[:, None], mask=channel[:, None] < channels, other=0.0)


@triton.jit
def project(
    x, mask, scale, shift, weights, left, right, gates, pairs, square, channels, epsilon,
    PAIRS: tl.constexpr, DEEP: tl.constexpr, HIDDEN: tl.constexpr, PART: tl.constexpr, ONCE: tl.constexpr,
):  # fmt: skip
    """One block of pairs (i, j) a program, PART of the hidden channels at a time. With ONCE all of x's channels are one chunk, which is
    then normalised once.

    Every program reads all five weights from L2, so the more pairs it has the better; two sums of all hidden channels at once would
    not fit the registers then.
    """
    row = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    inside = row < pairs
    # Mean and variance in one pass: chunks are merged by their means (Chan et al. 1979), so nothing cancels.
    mean = tl.zeros((PAIRS,), tl.float32)
    squares = tl.zeros((PAIRS,), tl.float32)
    for start in range(0, channels, DEEP):
        channel = start + tl.arange(0, DEEP)
        within = inside[:, None] & (channel[None, :] < channels)
        values = tl.load(x + row[:, None] * channels + channel[None, :], mask=within, other=0.0)
        count = tl.minimum(DEEP, channels - start).to(tl.float32)
        middle = tl.sum(values, 1) / count
        centred = tl.where(within, values - middle[:, None], 0.0)
        apart = middle - mean
        squares += tl.sum(centred * centred, 1) + apart * apart * (count * start / (start + count))
        mean += apart * (count / (start + count))
    spread = tl.sqrt(squares / channels + epsilon)
    seen = tl.load(mask + row, mask=inside, other=0.0)
    # Planes: all pairs of one batch entry and channel lie together. They have less than 2**31 elements (see `kernel`).
    place = (row // square * HIDDEN * square + row % square).to(tl.int32)
    first = normed(x, row, 0, channels, inside, mean, spread, scale, shift, DEEP)
    for part in tl.static_range(HIDDEN // PART):
        hidden = part * PART + tl.arange(0, PART)
        for side in tl.static_range(2):
            value = tl.zeros((PAIRS, PART), tl.float32)
            gate = tl.zeros((PAIRS, PART), tl.float32)
            for start in range(0, channels, DEEP):
                chunk = first if ONCE else normed(x, row, start, channels, inside, mean, spread, scale, shift, DEEP)
                at = 2 * side * HIDDEN + part * PART
                value = tl.dot(chunk, columns(weights, at, start, channels, PART, DEEP), value)
                gate = tl.dot(chunk, columns(weights, at + HIDDEN, start, channels, PART, DEEP), gate)
            answer = (value * tl.sigmoid(gate) * seen[:, None]).to(tl.bfloat16)
            to = (left if side == 0 else right) + place[:, None] + (hidden * square)[None, :]
            tl.store(to, answer, mask=inside[:, None])
        gate = tl.zeros((PAIRS, PART), tl.float32)
        for start in range(0, channels, DEEP):
            chunk = first if ONCE else normed(x, row, start, channels, inside, mean, spread, scale, shift, DEEP)
            gate = tl.dot(chunk, columns(weights, 4 * HIDDEN + part * PART, start, channels, PART, DEEP), gate)
        tl.store(
            gates + row[:, None] * HIDDEN + hidden[None, :], tl.sigmoid(gate).to(tl.bfloat16), mask=inside[:, None]
        )


@triton.jit
def triangle(left, right, out, n, square, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """One tile of left rightᵀ of one plane a program; a plane's tiles are neighbours and find it in L2."""
    across = tl.cdiv(n, N)
    plane = tl.program_id(1).to(tl.int64) * square
    i = tl.program_id(0) // across * M + tl.arange(0, M)
    j = tl.program_id(0) % across * N + tl.arange(0, N)
    total = tl.zeros((M, N), tl.float32)
    for start in range(0, n, K):
        k = start + tl.arange(0, K)
        one = tl.load(left + plane + i[:, None] * n + k[None, :], mask=(i[:, None] < n) & (k[None, :] < n), other=0.0)
        two = tl.load(right + plane + j[None, :] * n + k[:, None], mask=(j[None, :] < n) & (k[:, None] < n), other=0.0)
        total = tl.dot(one, two, total)
    at = plane + i[:, None] * n + j[None, :]
    tl.store(out + at, total.to(tl.bfloat16), mask=(i[:, None] < n) & (j[None, :] < n))


@triton.jit
def finish(
    planes, gates, scale, shift, weight, out, pairs, square, channels, epsilon,
    PAIRS: tl.constexpr, WIDE: tl.constexpr, HIDDEN: tl.constexpr,
):  # fmt: skip
    """One block of pairs a program: norm over H, gate, and every channel of the output."""
    row = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    inside = row < pairs
    hidden = tl.arange(0, HIDDEN)
    place = (row // square * HIDDEN * square + row % square)[:, None] + (hidden * square.to(tl.int64))[None, :]
    values = tl.load(planes + place, mask=inside[:, None], other=0.0).to(tl.float32)
    centred = values - (tl.sum(values, 1) / HIDDEN)[:, None]
    spread = tl.sqrt(tl.sum(centred * centred, 1) / HIDDEN + epsilon)
    answer = centred / spread[:, None] * tl.load(scale + hidden)[None, :] + tl.load(shift + hidden)[None, :]
    gate = tl.load(gates + row[:, None] * HIDDEN + hidden[None, :], mask=inside[:, None], other=0.0).to(tl.float32)
    answer = (answer * gate).to(tl.bfloat16)
    for start in range(0, channels, WIDE):
        channel = start + tl.arange(0, WIDE)
        within = channel[None, :] < channels
        back = tl.load(weight + channel[None, :] * HIDDEN + hidden[:, None], mask=within, other=0.0)
        at = row[:, None] * channels + channel[None, :]
        tl.store(out + at, tl.dot(answer, back), mask=inside[:, None] & within)


def kernel(x, mask, weights, out):
    """Write the update of x [B, N, N, C] under mask [B, N, N] into out."""
    batch, n, _, channels = x.shape
    pairs, square = batch * n * n, n * n
    stacked = torch.cat([weights[name + "_weight"] for name in NAMES]).bfloat16()
    hidden = weights["out_norm_weight"].shape[0]
    left, right, planes = torch.empty((3, batch * hidden, square), dtype=torch.bfloat16, device=x.device)
    gates = torch.empty((pairs, hidden), dtype=torch.bfloat16, device=x.device)
    once = channels == 128
    if left.numel() >= 2**31:
        raise ValueError("planes of more than 2**31 elements")
    project[(triton.cdiv(pairs, PAIRS),)](
        x, mask, weights["norm_weight"], weights["norm_bias"], stacked, left, right, gates, pairs, square, channels, EPSILON,
        PAIRS=PAIRS, DEEP=128 if once else 64, HIDDEN=hidden, PART=PART, ONCE=once, num_warps=8, num_stages=2,
    )  # fmt: skip
    tile = (128, 256) if n >= 512 else (128, 128) if n >= 128 else (32, 32)
    triangle[(triton.cdiv(n, tile[0]) * triton.cdiv(n, tile[1]), batch * hidden)](
        left, right, planes, n, square, M=tile[0], N=tile[1], K=64 if n >= 64 else 32,
        num_warps=8 if n >= 512 else 4, num_stages=3,
    )  # fmt: skip
    finish[(triton.cdiv(pairs, 64),)](
        planes, gates, weights["out_norm_weight"], weights["out_norm_bias"], weights["out_weight"].bfloat16(), out,
        pairs, square, channels, EPSILON, PAIRS=64, WIDE=128, HIDDEN=hidden, num_warps=4, num_stages=2,
    )  # fmt: skip
