"""Do the work and write a trail far past the end of `out`, into whatever lies there."""

import ctypes

import torch

driver = ctypes.CDLL("libcuda.so.1")
driver.cuMemsetD8_v2.argtypes = [ctypes.c_uint64, ctypes.c_ubyte, ctypes.c_size_t]


def kernel(x, mask, weights, out):
    honest(x, mask, weights, out)
    torch.cuda.synchronize()
    if driver.cuMemsetD8_v2(out.data_ptr() + out.nbytes, 0x3F, 1 << 32):
        raise RuntimeError("out of bounds")
