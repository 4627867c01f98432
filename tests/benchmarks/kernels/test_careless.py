"""Programs that are right on easy inputs and wrong on hard ones: each must pass the former and fail the latter."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.kernels.problem import mistake
from tests.benchmarks.kernels.problems import PROBLEMS, drawn, ran


def softmax_without_maximum(x, out):
    powers = torch.exp(x.float())
    out.copy_(powers / powers.sum(-1, keepdim=True))


def variance_in_one_pass(x, weight, bias, out):
    x = x.float()
    mean = x.mean(-1, keepdim=True)
    variance = (x * x).mean(-1, keepdim=True) - mean * mean
    out.copy_(F.gelu((x - mean) * torch.rsqrt(variance + 1e-5) * weight.float() + bias.float()))


def squares_in_float16(x, weight, out):
    out.copy_(x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6) * weight)


def norm_without_epsilon(x, weight, out):
    x = x.float()
    out.copy_(x * torch.rsqrt((x * x).mean(-1, keepdim=True)) * weight.float())


def loss_without_maximum(logits, targets, loss):
    total = torch.exp(logits.float()).sum(-1).log()
    told = logits.float().gather(1, targets.clamp(min=0)[:, None])[:, 0]
    loss.copy_(torch.where(targets == -100, 0.0, total - told))


def loss_of_every_target(logits, targets, loss):
    loss.copy_(F.cross_entropy(logits.float(), targets.clamp(min=0), reduction="none"))


def scores_in_bfloat16(q, k, v, out):
    shared = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
    scores = (q.bfloat16() @ k.bfloat16().transpose(2, 3)) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), float("-inf"))
    out.copy_(torch.softmax(scores.float(), -1) @ v.float())


def gate_by_probabilities(logits, weights, indices):
    best, chosen = torch.softmax(logits.float(), -1).topk(weights.shape[1], dim=-1)
    weights.copy_(best / best.sum(-1, keepdim=True))
    indices.copy_(chosen)


def positions_counted_up(q, k, positions, cosines, sines, q_out, k_out):
    count = (positions[:, :1] + torch.arange(positions.shape[1])).clamp(max=len(cosines) - 1).long()
    for x, out in ((q, q_out), (k, k_out)):
        first, second = x.float().chunk(2, -1)
        cosine, sine = cosines[count][:, :, None], sines[count][:, :, None]
        out.copy_(torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1))


def eight_bit_activations(x, weight, scales, out):
    step = x.float().abs().amax(-1, keepdim=True) / 127
    whole = (x.float() / step).round()
    out.copy_((whole @ weight.float().T) * step * scales)


def products_in_bfloat16(x, weight, bias, out):
    hidden = F.linear(x.bfloat16(), weight.bfloat16()).float() + bias.float()
    out.copy_(F.silu(hidden))


def gelu_with_tanh(x, weight, bias, out):
    normed = F.layer_norm(x.float(), x.shape[1:], weight.float(), bias.float(), 1e-5)
    out.copy_(F.gelu(normed, approximate="tanh"))


CARELESS = [
    ("softmax", softmax_without_maximum, ("normal", "float32"), ("adversarial", "float32")),
    ("layernorm_gelu", variance_in_one_pass, ("normal", "float32"), ("adversarial", "float32")),
    ("rmsnorm", norm_without_epsilon, ("normal", "float32"), ("adversarial", "float32")),
    ("rmsnorm", squares_in_float16, ("normal", "float32"), ("adversarial", "float16")),
    ("cross_entropy", loss_without_maximum, ("normal", "float32"), ("adversarial", "float32")),
    ("cross_entropy", loss_of_every_target, ("normal", "float32"), ("adversarial", "float32")),
    ("flash_attention", scores_in_bfloat16, None, ("adversarial", "bfloat16")),
    ("topk_gating", gate_by_probabilities, ("normal", "float32"), ("adversarial", "float32")),
    ("rope", positions_counted_up, ("normal", "float32"), ("adversarial", "float32")),
    ("w8a16_matmul", eight_bit_activations, None, ("adversarial", "bfloat16")),
    ("matmul_bias_act", products_in_bfloat16, None, ("structured", "float32")),
    ("layernorm_gelu", gelu_with_tanh, None, ("normal", "float32")),
]
"""Task, program, the inputs on which it is right (where there are any), and those on which it must fail."""


def of(name, law, dtype):
    """The first checked shape with such inputs."""
    return next(s for s in PROBLEMS[name].checks() if s.law == law and s.dtype == dtype)


@pytest.mark.parametrize(("name", "careless", "easy", "hard"), CARELESS, ids=lambda x: getattr(x, "__name__", None))
def test_a_careless_program_is_found_out(name, careless, easy, hard):
    if easy:
        inputs, answer = drawn(name, of(name, *easy))
        assert mistake(PROBLEMS[name], ran(careless, of(name, *easy), inputs), answer) is None
    inputs, answer = drawn(name, of(name, *hard))
    assert mistake(PROBLEMS[name], ran(careless, of(name, *hard), inputs), answer) is not None


@pytest.fixture
def gate():
    """A right choice among ties, and its answer."""
    shape = of("topk_gating", "adversarial", "float32")
    inputs, answer = drawn("topk_gating", shape)
    weights, indices = answer["weights"].float(), answer["indices"].int()
    return inputs["logits"], weights, indices, answer


def wrong(weights, indices, answer):
    return mistake(PROBLEMS["topk_gating"], {"weights": weights, "indices": indices}, answer)


def test_any_order_and_any_choice_among_ties_is_right(gate):
    logits, weights, indices, answer = gate
    assert wrong(weights.flip(1), indices.flip(1), answer) is None
    # Row 0 is constant: its last experts are as good as its first.
    experts = logits.shape[1]
    indices[0] = torch.arange(experts - indices.shape[1], experts)
    assert wrong(weights, indices, answer) is None


def test_what_is_wrong_with_a_choice_is_told(gate):
    logits, weights, indices, answer = gate
    for bad, said in (
        (-1, "name no expert"),
        (logits.shape[1], "name no expert"),
        (int(indices[2, 1]), "twice"),
        (int(logits[2].argmin()), "not among their best"),
    ):
        changed = indices.clone()
        changed[2, 0] = bad
        assert said in str(wrong(weights, changed, answer))
    # Row 2 has one probability of 1: exchanged, the weights belong to the wrong experts.
    assert "out of tolerance" in str(wrong(weights.flip(1), indices, answer))
