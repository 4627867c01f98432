"""The gate of a mixture of experts in numba: one pass over a token's logits, the best so far kept in order."""

import numba
import numpy as np


@numba.njit("void(float32[:, ::1], float32[:, ::1], int32[:, ::1])", parallel=True)
def gate(logits, weights, indices):
    """The best k of each row of logits [tokens, experts], and the softmax over them."""
    tokens, experts = logits.shape
    k = weights.shape[1]
    for token in numba.prange(tokens):
        best, chosen = weights[token], indices[token]
        best[:] = -np.inf
        for expert in range(experts):
            value = logits[token, expert]
            if value > best[k - 1] or expert < k:
                # Most logits end here: few are among the best so far.
                slot = min(expert, k - 1)
                while slot > 0 and best[slot - 1] < value:
                    best[slot], chosen[slot] = best[slot - 1], chosen[slot - 1]
                    slot -= 1
                best[slot], chosen[slot] = value, expert
        largest, total = best[0], np.float32(0.0)
        for slot in range(k):
            best[slot] = np.exp(best[slot] - largest)
            total += best[slot]
        for slot in range(k):
            best[slot] /= total


def kernel(logits, weights, indices):
    """Write the k best experts of logits [tokens, experts] and the softmax over them into indices and weights [tokens, k]."""
    gate(logits.float().numpy(), weights.numpy(), indices.numpy())
