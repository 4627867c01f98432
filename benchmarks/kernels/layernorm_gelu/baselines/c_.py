"""Layer norm and GELU in C, for float32: a row stays in the cache, and erf is a polynomial and one exponential."""

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

/* Abramowitz and Stegun 7.1.26: wrong by 1.5e-7 at most. */
static inline float quick_erf(float x) {
    float size = fabsf(x), t = 1.0f / (1.0f + 0.3275911f * size);
    float series = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    return copysignf(1.0f - series * quick_exp(-size * size), x);
}

void layernorm_gelu(const float *x, const float *weight, const float *bias, float *out, long rows, long cols) {
    #pragma omp parallel for schedule(static)
    for (long row = 0; row < rows; row++) {
        const float *in = x + row * cols;
        float *to = out + row * cols, total = 0.0f, squares = 0.0f;
        for (long col = 0; col < cols; col++) total += in[col];
        float mean = total / cols;
        for (long col = 0; col < cols; col++) squares += (in[col] - mean) * (in[col] - mean);
        float factor = 1.0f / sqrtf(squares / cols + 1e-5f);
        for (long col = 0; col < cols; col++) {
            float normed = (in[col] - mean) * factor * weight[col] + bias[col];
            to[col] = 0.5f * normed * (1.0f + quick_erf(normed * 0.70710678f));
        }
    }
}
"""

PROGRAM = os.path.join(tempfile.mkdtemp(dir="/scratch"), "kernel.so")
FLAGS = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC", "-x", "c", "-", "-o", PROGRAM, "-lm"]
subprocess.run(["gcc", *FLAGS], input=SOURCE.encode(), check=True)


layernorm_gelu = ctypes.CDLL(PROGRAM).layernorm_gelu
layernorm_gelu.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_long] * 2
layernorm_gelu.restype = None


def kernel(x, weight, bias, out):
    """Write GELU (with the error function) of the layer norm of x [rows, cols] into out."""
    if x.dtype == torch.float32:
        layernorm_gelu(x.data_ptr(), weight.data_ptr(), bias.data_ptr(), out.data_ptr(), *x.shape)
    else:
        normed = torch.nn.functional.layer_norm(x.float(), x.shape[1:], weight.float(), bias.float(), 1e-5)
        out.copy_(torch.nn.functional.gelu(normed))
