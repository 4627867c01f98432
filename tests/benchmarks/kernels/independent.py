"""Each kernel's answer a second time, by numpy, scipy or torch's own function, and never by the formula of its reference."""

import numpy as np
import scipy.special
import torch
import torch.nn.functional as F


def softmax(given):
    return {"out": scipy.special.softmax(given["x"].numpy(), axis=-1)}


def rmsnorm(given):
    return {"out": F.rms_norm(given["x"], given["x"].shape[1:], given["weight"], 1e-6)}


def layernorm_gelu(given):
    return {"out": F.gelu(F.layer_norm(given["x"], given["x"].shape[1:], given["weight"], given["bias"], 1e-5))}


def matmul_bias_act(given):
    x, weight, bias = (given[name].numpy() for name in ("x", "weight", "bias"))
    hidden = np.einsum("mk,nk->mn", x, weight) + bias
    return {"out": hidden * scipy.special.expit(hidden)}


def flash_attention(given):
    q, k, v = given["q"], given["k"], given["v"]
    return {"out": F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)}


def cross_entropy(given):
    return {"loss": F.cross_entropy(given["logits"], given["targets"], reduction="none", ignore_index=-100)}


def rope(given):
    """A rotation is a product of complex numbers."""
    places = given["positions"].long()
    turn = torch.complex(given["cosines"], given["sines"])[places][:, :, None]
    answers = {}
    for name in ("q", "k"):
        turned = torch.complex(*given[name].chunk(2, dim=-1)) * turn
        answers[f"{name}_out"] = torch.cat([turned.real, turned.imag], dim=-1)
    return answers


def w8a16_matmul(given):
    x, weight, scales = (given[name].numpy().astype(np.float64) for name in ("x", "weight", "scales"))
    return {"out": np.einsum("mk,nk->mn", x, weight) * scales}


def topk_gating(given):
    """The logits from the best to the worst, by numpy's sort: their first k are what was to be chosen."""
    return {"best": -np.sort(-given["logits"].numpy(), axis=-1)}


def trimul(given):
    """The equation of the README, index by index, without a matrix product or a library's layer norm."""
    given = {name.removeprefix("weights."): tensor.numpy() for name, tensor in given.items()}

    def norm(values, scale, shift):
        return (values - values.mean(-1, keepdims=True)) / np.sqrt(values.var(-1, keepdims=True) + 1e-5) * scale + shift

    def linear(values, weight):
        return np.einsum("...c,hc->...h", values, weight)

    sigmoid = scipy.special.expit
    x = norm(given["x"], given["norm_weight"], given["norm_bias"])
    mask = given["mask"][..., None]
    left = linear(x, given["left_weight"]) * mask * sigmoid(linear(x, given["left_gate_weight"]))
    right = linear(x, given["right_weight"]) * mask * sigmoid(linear(x, given["right_gate_weight"]))
    batch, n = mask.shape[:2]
    product = np.zeros((batch, n, n, left.shape[-1]))
    for i in range(n):
        for j in range(n):
            product[:, i, j] = (left[:, i] * right[:, j]).sum(axis=1)
    product = norm(product, given["out_norm_weight"], given["out_norm_bias"])
    return {"out": linear(product * sigmoid(linear(x, given["out_gate_weight"])), given["out_weight"])}


ANSWERS = {
    answer.__name__: answer
    for answer in (
        softmax, rmsnorm, layernorm_gelu, matmul_bias_act, flash_attention, cross_entropy, rope, w8a16_matmul,
        topk_gating, trimul,
    )
}  # fmt: skip
