"""Softmax in C, for float32: a row is read from memory once and is in the cache for the rest. Other dtypes go the plain way."""

import ctypes
import os
import subprocess
import tempfile

import torch

SOURCE = r"""
#include <math.h>
#include <stdint.h>

/* exp by its power of two and a polynomial for the rest: a few units in the last place, and it fills vectors. */
static inline float quick_exp(float x) {
    float turns = fmaxf(x, -87.0f) * 1.44269504f, whole = rintf(turns);
    float rest = (turns - whole) * 0.69314718f;
    float series = 1.0f + rest * (1.0f + rest * (0.5f + rest * (0.16666667f + rest * (0.041666667f + rest *
                   (0.0083333333f + rest * 0.0013888889f)))));
    union { int bits; float value; } power = {((int)whole + 127) << 23};
    return series * power.value;
}

void softmax(const float *x, float *out, long rows, long cols) {
    #pragma omp parallel for schedule(static)
    for (long row = 0; row < rows; row++) {
        const float *in = x + row * cols;
        float *to = out + row * cols, largest = in[0], total = 0.0f;
        for (long col = 0; col < cols; col++) largest = fmaxf(largest, in[col]);
        for (long col = 0; col < cols; col++) total += to[col] = quick_exp(in[col] - largest);
        float factor = 1.0f / total;
        for (long col = 0; col < cols; col++) to[col] *= factor;
    }
}
"""

PROGRAM = os.path.join(tempfile.mkdtemp(dir="/scratch"), "kernel.so")
FLAGS = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC", "-x", "c", "-", "-o", PROGRAM, "-lm"]
subprocess.run(["gcc", *FLAGS], input=SOURCE.encode(), check=True)


softmax = ctypes.CDLL(PROGRAM).softmax
softmax.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_long] * 2
softmax.restype = None


def kernel(x, out):
    """Write softmax of x [rows, cols] over the columns into out."""
    if x.dtype == torch.float32:
        softmax(x.data_ptr(), out.data_ptr(), *x.shape)
    else:
        out.copy_(torch.softmax(x.float(), dim=-1))
