"""Fail on the device: an index out of range, which the host hears of only when it next waits."""

import torch


def kernel(x, mask, weights, out):
    table = torch.zeros(4, device=x.device)
    out.view(-1)[:1] = table[torch.tensor([1 << 20], device=x.device)]
