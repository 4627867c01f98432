"""Rotary embedding in numba, for float32: one pass, angles read in place. Other dtypes go the plain way."""

import numba
import torch


@numba.njit(
    "void(float32[:, :, ::1], int32[::1], float32[:, ::1], float32[:, ::1], float32[:, :, ::1])",
    parallel=True,
    fastmath=True,
)
def rope(x, positions, cosines, sines, out):
    """Turn x [tokens, heads, width] by rows `positions` of the tables."""
    tokens, heads, width = x.shape
    half = width // 2
    for token in numba.prange(tokens):
        place = positions[token]
        for head in range(heads):
            for pair in range(half):
                first, second = x[token, head, pair], x[token, head, half + pair]
                cosine, sine = cosines[place, pair], sines[place, pair]
                out[token, head, pair] = first * cosine - second * sine
                out[token, head, half + pair] = second * cosine + first * sine


def kernel(q, k, positions, cosines, sines, q_out, k_out):
    """Write q [B, T, H, D] and k [B, T, G, D], rotated by rows `positions` [B, T] of the tables [P, D/2]."""
    places = positions.view(-1)
    for x, out in ((q, q_out), (k, k_out)):
        given = x.view(-1, *x.shape[2:])
        if x.dtype == torch.float32:
            taken = out.view(-1, *x.shape[2:]).numpy()
            rope(given.numpy(), places.numpy(), cosines.numpy(), sines.numpy(), taken)
        else:
            cosine, sine = cosines[places.long()].unsqueeze(1), sines[places.long()].unsqueeze(1)
            first, second = given.float().chunk(2, dim=-1)
            turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
            out.copy_(turned.view(x.shape))
