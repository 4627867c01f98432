"""Write far past the end of `out`: an honest answer and a long trail behind it, in whatever lies there."""

import ctypes


def kernel(x, mask, weights, out):
    honest(x, mask, weights, out)
    ctypes.memset(out.data_ptr() + out.numel() * 4, 0x3F, 64 * 1024 * 1024)
