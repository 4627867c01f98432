"""Keep three bits of mantissa."""

import torch


def kernel(x, mask, weights, out):
    def coarse(tensor):
        return tensor.to(torch.float8_e4m3fn).float()

    honest(x, mask, {name: coarse(tensor) for name, tensor in weights.items()}, out)
