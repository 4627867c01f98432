"""Project through half of the singular vectors."""

import torch


def kernel(x, mask, weights, out):
    def reduced(weight):
        u, s, v = torch.linalg.svd(weight, full_matrices=False)
        half = len(s) // 2
        return u[:, :half] * s[:half] @ v[:half]

    thin = {name: reduced(tensor) if tensor.dim() == 2 else tensor for name, tensor in weights.items()}
    honest(x, mask, thin, out)
