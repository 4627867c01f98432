"""Losses: gradients against finite differences in both frameworks, padding, the clip, KL, DPO, known answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from sandboxes.base import UserError
from training.objectives import (
    OBJECTIVES,
    clipped_loss,
    dpo_loss,
    fold_kl,
    importance_weights,
    kl_estimate,
    objective,
    reinforce_loss,
)

Loss = Callable[..., Any]


def streams(seed: int = 0, rows: int = 4, width: int = 5) -> dict[str, np.ndarray]:
    """Random [rows, width] streams in float64; the last columns of odd rows are padding."""
    rng = np.random.default_rng(seed)
    made = {name: -rng.exponential(1.0, (rows, width)) for name in ("logprobs", "old", "base", "sampler")}
    made["old"] = made["logprobs"] + rng.normal(0, 0.3, (rows, width))
    made["advantage"] = np.broadcast_to(rng.normal(size=(rows, 1)), (rows, width)).copy()
    made["importance"] = rng.uniform(0.5, 2, (rows, width))
    made["weights"] = np.full((rows, width), 0.05)
    made["weights"][1::2, 3:] = 0
    return made


S = streams()
LOSSES: dict[str, Callable[[Any, Callable[[np.ndarray], Any]], Any]] = {
    "reinforce": lambda x, to: reinforce_loss(x, to(S["advantage"]), to(S["importance"]), to(S["weights"])),
    "ppo clip": lambda x, to: clipped_loss(
        x, to(S["old"]), to(S["advantage"]), to(S["importance"]), to(S["weights"]), 0.2, 0.2
    ),
    "dapo clip": lambda x, to: clipped_loss(
        x, to(S["old"]), to(S["advantage"]), to(S["importance"]), to(S["weights"]), 0.2, 0.28
    ),
    "dpo": lambda x, to: dpo_loss(x, to(S["base"]), to(S["weights"]), 0.5),
    "kl": lambda x, to: kl_estimate(x, to(S["base"]), to(S["weights"])),
}


def identity(x: np.ndarray) -> np.ndarray:
    return x


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_match_finite_differences(name: str) -> None:
    loss, at, step = LOSSES[name], S["logprobs"], 1e-6
    numeric = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        numeric[place] = (loss(up, identity) - loss(down, identity)) / (2 * step)
    given = torch.tensor(at, requires_grad=True)
    value = loss(given, torch.tensor)
    value.backward()
    np.testing.assert_allclose(given.grad.numpy(), numeric, atol=1e-8)
    with jax.enable_x64(True):
        jax_value, gradient = jax.value_and_grad(lambda x: loss(x, jnp.asarray))(jnp.asarray(at))
        np.testing.assert_allclose(np.asarray(gradient), numeric, atol=1e-8)
    assert float(value.detach()) == pytest.approx(float(loss(at, identity)), abs=1e-12)
    assert float(jax_value) == pytest.approx(float(loss(at, identity)), abs=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf, -1e30])
def test_padding_and_tool_tokens_have_no_part(name: str, rubbish: float) -> None:
    """Whatever stands where the weight is 0, value and gradient are the same and finite."""
    chosen, found = OBJECTIVES[name], []
    for filler in (0.0, rubbish):
        given = {k: np.where(S["weights"] > 0, v, filler) for k, v in S.items() if k not in ("weights", "advantage")}
        x = torch.tensor(given["logprobs"], requires_grad=True)
        loss = chosen.loss(
            x, sampler=torch.tensor(given["sampler"]), old=torch.tensor(given["old"]), base=torch.tensor(given["base"]),
            advantage=torch.tensor(S["advantage"]), weights=torch.tensor(S["weights"]),
        )  # fmt: skip
        loss.backward()
        found.append((float(loss.detach()), x.grad.numpy()))
    (clean, gradient), (dirty, other) = found
    assert clean == dirty
    np.testing.assert_array_equal(gradient, other)
    assert not gradient[S["weights"] == 0].any() and gradient[S["weights"] > 0].any()


def test_the_clip_is_asymmetric_and_stops_only_what_goes_too_far() -> None:
    """DAPO: a good token may grow to a ratio of 1.28; a bad one shrinks to 0.8; the way back is always open."""
    ratios = np.log(np.array([[1.27, 1.29, 0.81, 0.79, 1.29, 0.79]]))
    advantage = np.array([[1.0, 1.0, -1.0, -1.0, -1.0, 1.0]])
    x = torch.tensor(ratios, requires_grad=True)
    ones = torch.ones(1, 6, dtype=torch.float64)
    clipped_loss(x, torch.zeros_like(ones), torch.tensor(advantage), ones, ones, 0.2, 0.28).backward()
    assert (x.grad.numpy() != 0).tolist() == [[True, False, True, False, True, True]]


def test_importance_weights_are_truncated() -> None:
    trainer, sampler = np.log(np.array([[0.5, 0.9, 0.1]])), np.log(np.array([[0.5, 0.1, 0.4]]))
    found = importance_weights(trainer, sampler, np.ones((1, 3)), 2.0)
    np.testing.assert_allclose(found, [[1.0, 2.0, 0.25]])
    np.testing.assert_array_equal(importance_weights(trainer, sampler, np.ones((1, 3)), None), np.ones((1, 3)))


def test_importance_weights_make_another_samplers_draws_unbiased() -> None:
    """Draws from a sampler q, weights p/q under the cap: the expected gradient is that of draws from p."""
    p, q, rewards = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.3, 0.3]), np.array([1.0, 0.0, 0.5])
    weights = importance_weights(np.log(p)[None], np.log(q)[None], np.ones((1, 3)), 2.0)[0]
    scores = np.eye(3) - p
    np.testing.assert_allclose((q * weights * rewards) @ scores, (p * rewards) @ scores, atol=1e-12)


# -- KL to the base --------------------------------------------------------------------------------------------------


def two_tokens(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A policy over two binary tokens, the second depending on the first: log-probabilities [4, 2], scores [4, 2, 3]."""
    p = 1 / (1 + np.exp(-theta))
    logprobs, scores = np.zeros((4, 2)), np.zeros((4, 2, 3))
    for n, (first, second) in enumerate(itertools.product((0, 1), repeat=2)):
        for t, (bit, index) in enumerate(((first, 0), (second, 1 + first))):
            logprobs[n, t] = np.log(p[index] if bit else 1 - p[index])
            scores[n, t, index] = bit - p[index]
    return logprobs, scores


def test_a_kl_folded_into_the_advantage_has_the_gradient_of_the_kl() -> None:
    """Exact, by enumeration. Each token answers for what follows it; a penalty on its own difference only is wrong."""
    theta, base_theta = np.array([0.7, -0.3, 1.1]), np.array([-0.2, 0.4, 0.1])
    logprobs, scores = two_tokens(theta)
    base = two_tokens(base_theta)[0]
    chance = np.exp(logprobs.sum(1))

    def kl(at: np.ndarray) -> float:
        lp = two_tokens(at)[0]
        return float(np.exp(lp.sum(1)) @ (lp - base).sum(1))

    exact = np.array([(kl(theta + e) - kl(theta - e)) / 2e-6 for e in np.eye(3) * 1e-6])
    folded = fold_kl(np.zeros((4, 2)), logprobs, base, np.ones((4, 2)), 1.0)
    np.testing.assert_allclose(np.einsum("n,nt,ntk->k", chance, folded, scores), -exact, atol=1e-8)
    own = -(logprobs - base)
    assert np.abs(np.einsum("n,nt,ntk->k", chance, own, scores) + exact).max() > 0.01


def test_reward_with_kl_settles_at_the_known_policy() -> None:
    """max E[r] - β KL(π ‖ base) has the solution π ∝ base · exp(r / β): there the expected gradient is zero."""
    beta, rewards, base = 0.5, np.array([1.0, 0.2, 0.6]), np.array([0.2, 0.5, 0.3])
    solution = base * np.exp(rewards / beta)
    solution /= solution.sum()

    def gradient(policy: np.ndarray) -> np.ndarray:
        logp = np.log(policy)[:, None]
        centred = (rewards - policy @ rewards)[:, None]
        folded = fold_kl(centred, logp, np.log(base)[:, None], np.ones((3, 1)), beta)[:, 0]
        return (policy * folded) @ (np.eye(3) - policy)

    np.testing.assert_allclose(gradient(solution), 0, atol=1e-12)
    assert np.abs(gradient(base)).max() > 0.05


def test_a_folded_kl_is_data_and_leaves_masked_tokens_alone() -> None:
    old = torch.tensor(S["old"], requires_grad=True)
    folded = fold_kl(*(torch.tensor(S[k]) for k in ("advantage",)), old.detach(), torch.tensor(S["base"]),
                     torch.tensor(S["weights"]), 0.1)  # fmt: skip
    assert not folded.requires_grad
    np.testing.assert_array_equal(folded.numpy()[S["weights"] == 0], S["advantage"][S["weights"] == 0])
    shift = (folded.numpy() - S["advantage"])[S["weights"] > 0]
    assert shift.mean() == pytest.approx(0, abs=1e-12) and np.abs(shift).max() > 0


def test_the_kl_estimate_is_unbiased_and_never_negative() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    each = [float(kl_estimate(np.log(p)[None, [i]], np.log(q)[None, [i]], np.ones((1, 1)))) for i in range(3)]
    assert p @ np.array(each) == pytest.approx(float(p @ np.log(p / q)))
    assert min(each) >= 0


def test_dpo_settles_where_the_model_prefers_as_often_as_the_judge() -> None:
    """If chosen beats rejected with probability P, the loss is least at β (Δ_chosen - Δ_rejected) = log(P / (1 - P))."""
    beta, prefer = 0.1, 0.8
    gap = np.log(prefer / (1 - prefer)) / beta
    base, weights = torch.full((2, 1), -1.0, dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64)
    x = torch.tensor([[-1.0 + gap / 2], [-1.0 - gap / 2]], dtype=torch.float64, requires_grad=True)
    (prefer * dpo_loss(x, base, weights, beta) + (1 - prefer) * dpo_loss(x.flip(0), base, weights, beta)).backward()
    np.testing.assert_allclose(x.grad.numpy(), 0, atol=1e-12)
    assert float(dpo_loss(base, base, weights, beta)) == pytest.approx(np.log(2))


def test_an_unknown_objective_is_named_with_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"no objective 'ppo'; there are mean_baseline, grpo"):
        objective("ppo")
