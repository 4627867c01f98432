"""In the form that returns: hand back memory that a thread is still filling, to be copied before it is full."""

import threading
import time

import torch

RETURNS = True


def kernel(data):
    x, mask, weights = data
    out = torch.empty_like(x)

    def later():
        time.sleep(0.002)
        honest(x, mask, weights, out)

    threading.Thread(target=later, daemon=True).start()
    return out
