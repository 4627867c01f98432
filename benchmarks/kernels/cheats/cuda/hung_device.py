"""Never end on the device."""

import torch


def kernel(x, mask, weights, out):
    while True:
        torch.cuda._sleep(1_000_000_000)
        torch.cuda.synchronize()
