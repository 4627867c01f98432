"""Be honest, and burn CPU in a thread while others are being timed, so that they look slow."""

import threading

import torch


def burn():
    block = torch.ones(256, 256)
    while True:
        block @ block


threading.Thread(target=burn, daemon=True).start()


def kernel(x, mask, weights, out):
    honest(x, mask, weights, out)
