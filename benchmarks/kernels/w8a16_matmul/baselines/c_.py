"""A product with eight-bit weights: in C for few rows, where reading the weights is all; through bfloat16 for many."""

import ctypes
import os
import subprocess
import tempfile

import torch

SOURCE = r"""
#include <math.h>
#include <stdint.h>

/* x [m, k] bfloat16 (its bits), weight [n, k], out [m, n] float32. Four rows share one pass over a weight row. */
static inline float wide(uint16_t half) {
    union { uint32_t bits; float value; } full = {(uint32_t)half << 16};
    return full.value;
}

void product(const uint16_t *x, const int8_t *weight, const float *scales, float *out, long m, long n, long k) {
    #pragma omp parallel for schedule(static)
    for (long column = 0; column < n; column++) {
        const int8_t *by = weight + column * k;
        long row = 0;
        for (; row + 4 <= m; row += 4) {
            const uint16_t *in = x + row * k;
            float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
            for (long at = 0; at < k; at++) {
                float factor = by[at];
                a += factor * wide(in[at]);
                b += factor * wide(in[k + at]);
                c += factor * wide(in[2 * k + at]);
                d += factor * wide(in[3 * k + at]);
            }
            float *to = out + row * n + column;
            to[0] = a * scales[column], to[n] = b * scales[column];
            to[2 * n] = c * scales[column], to[3 * n] = d * scales[column];
        }
        for (; row < m; row++) {
            float total = 0.0f;
            for (long at = 0; at < k; at++) total += by[at] * wide(x[row * k + at]);
            out[row * n + column] = total * scales[column];
        }
    }
}
"""

PROGRAM = os.path.join(tempfile.mkdtemp(dir="/scratch"), "kernel.so")
FLAGS = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC", "-x", "c", "-", "-o", PROGRAM, "-lm"]
subprocess.run(["gcc", *FLAGS], input=SOURCE.encode(), check=True)


product = ctypes.CDLL(PROGRAM).product
product.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_long] * 3
product.restype = None


def kernel(x, weight, scales, out):
    """Write x [m, k] times (weight [n, k] · scales [n]) transposed into out [m, n]."""
    (m, k), n = x.shape, weight.shape[0]
    if x.dtype == torch.bfloat16 and m <= 16:
        sums = torch.empty((m, n))
        product(x.data_ptr(), weight.data_ptr(), scales.data_ptr(), sums.data_ptr(), m, n, k)
        out.copy_(sums)
    else:
        # Whole numbers up to 128 are exact in sixteen bits. The scales come last, in float32.
        out.copy_(torch.matmul(x, weight.to(x.dtype).t()).float() * scales)
