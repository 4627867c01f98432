"""What both trainers promise: no step without a signal, clear refusals, the last good adapter, exact resumption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from agents.models.adapters import WEIGHTS, AdapterError, write_adapter
from sandboxes.base import UserError
from tests.training.conftest import LONGEST, VOCABULARY, make_model
from training.checkpoint import Store
from training.jax_trainer import JaxTrainer
from training.lora import Base, Lora, new_lora
from training.objectives import OBJECTIVES
from training.rollout import Rollout
from training.torch_trainer import TokenLogprobs, TorchTrainer
from training.trainer import Settings, Trainer, TrainingStopped

Draw = Callable[..., list[Rollout]]
SETTINGS = Settings(rank=4, alpha=8, dtype="float32", learning_rate=1e-2, deterministic=True)


@pytest.fixture(scope="module", params=[TorchTrainer, JaxTrainer], ids=["torch", "jax"])
def trainer(request: pytest.FixtureRequest, tiny: Path) -> Trainer:
    made: Trainer = request.param(tiny, SETTINGS)
    return made


def same(left: Lora, right: Lora) -> bool:
    return all(np.array_equal(t, right.tensors[n]) for n, t in left.tensors.items())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_equal_rewards_make_no_step(trainer: Trainer, draw: Draw, name: str) -> None:
    """Neither the adapter nor the optimiser moves, not even by the momentum of the step before."""
    trainer.reset()
    trainer.step(draw(1))
    before = trainer.state()
    stats = trainer.step([replace(r, reward=0.1) for r in draw(2)], name)
    after = trainer.state()
    assert stats.skipped == "all rewards are equal in every group" and stats.silent == 8
    assert same(before.lora, after.lora) and before.updates == after.updates
    assert all(np.array_equal(t, after.first[n]) for n, t in before.first.items())


def test_a_step_moves_the_policy_and_says_so(trainer: Trainer, draw: Draw) -> None:
    trainer.reset()
    rollouts = draw(1)
    pairs = [(r.prompt, r.completion) for r in rollouts]
    before, base = trainer.logprobs(pairs), trainer.logprobs(pairs, base=True)
    assert all(np.allclose(x, y, atol=1e-5) for x, y in zip(before, base, strict=True)), "B is zero at first"
    stats = trainer.step(rollouts)
    after = trainer.logprobs(pairs)
    assert max(np.abs(np.subtract(x, y)).max() for x, y in zip(before, after, strict=True)) > 1e-3
    assert (
        stats.grad_norm > 0 and stats.tokens == sum(len(p) + len(c) for p, c in pairs) and stats.tokens_per_second > 0
    )
    again = trainer.logprobs(pairs, base=True)
    assert all(np.allclose(x, y, atol=1e-5) for x, y in zip(base, again, strict=True)), "the base never changes"


def test_a_loss_that_is_not_finite_stops_with_the_last_good_adapter(
    trainer: Trainer, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer.reset()
    trainer.step(draw(1))
    good = trainer.state()
    rollouts = [replace(r, reward=r.reward * 1e38) for r in draw(1)]  # finite, but not once it is summed in float32
    with pytest.raises(TrainingStopped, match=r"loss .* the adapter is still the one before") as stopped:
        trainer.step(rollouts)
    assert same(stopped.value.lora, good.lora) and same(trainer.lora(), good.lora)
    trainer.restore(good)
    assert not trainer.step(draw(1)).skipped, "and training can go on"


def test_state_restores_exactly(trainer: Trainer, draw: Draw, tiny: Path, tmp_path: Path) -> None:
    trainer.reset()
    trainer.step(draw(1))
    store = Store(tmp_path, tiny, tmp_path / "adapters")
    store.save(trainer.state())
    trainer.step(draw(1))
    expected = trainer.lora()
    state = store.latest()
    assert state is not None
    trainer.restore(state)
    trainer.step(draw(1))
    assert same(expected, trainer.lora())


def test_several_updates_of_one_batch_keep_the_ratio_in_bounds(tiny: Path, draw: Draw) -> None:
    many = TorchTrainer(tiny, replace(SETTINGS, updates=3), device="cpu")
    stats = many.step(draw(1), "dapo")
    assert many.update_number == 3 and stats.step == 1 and np.isfinite(stats.loss)


def test_the_temperature_is_the_samplers(tiny: Path, draw: Draw) -> None:
    """At temperature 2 the trainer's log-probabilities are those of logits / 2, so a matching sampler shows no KL."""
    hot = TorchTrainer(tiny, replace(SETTINGS, temperature=2.0), device="cpu")
    rollouts = [replace(r, mask=None) for r in draw(3)]
    given = []
    for r in rollouts:
        ids = torch.tensor([[*r.prompt, *r.completion]])
        with torch.no_grad():
            logits = hot.model(ids).logits[0] / 2
        picked = logits.log_softmax(-1)[torch.arange(ids.shape[1] - 1), ids[0, 1:]]
        given.append(replace(r, logprobs=tuple(picked[len(r.prompt) - 1 :].tolist())))
    assert hot.step(given).kl_sampler == pytest.approx(0, abs=1e-6)


def test_a_choice_is_renormalised_over_what_was_allowed(trainer: Trainer) -> None:
    """The sampler's probabilities over the options sum to one; the trainer's agree, so the KL between them is 0."""
    trainer.reset()
    allowed = (5, 9, 11)
    full = np.array([row[0] for row in trainer.logprobs([((1, 2, 3), (i,)) for i in allowed])])
    chances = full - np.logaddexp.reduce(full)
    rollouts = [
        Rollout((1, 2, 3), (i,), (float(p),), float(i), "a", allowed=(allowed,))
        for i, p in zip(allowed, chances, strict=True)
    ]
    stats = trainer.step(rollouts)
    assert stats.kl_sampler == pytest.approx(0, abs=1e-6)
    assert stats.entropy == pytest.approx(-float(np.exp(chances) @ chances), abs=1e-4)


def test_the_heads_gradient_is_autograds() -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(300, 8, requires_grad=True), torch.randn(50, 8)
    targets, weights = torch.randint(0, 50, (300,)), torch.randn(300)
    found, entropy = TokenLogprobs.apply(hidden, head, targets)
    (found * weights).sum().backward()
    ours, hidden.grad = hidden.grad, None
    logprobs = (hidden @ head.T).log_softmax(-1)
    (logprobs[torch.arange(300), targets] * weights).sum().backward()
    torch.testing.assert_close(ours, hidden.grad)
    torch.testing.assert_close(entropy, -(logprobs.exp() * logprobs).sum(1))


# -- bad input -------------------------------------------------------------------------------------------------------


def test_a_token_of_another_tokenizer_is_refused(trainer: Trainer) -> None:
    with pytest.raises(UserError, match="another tokenizer"):
        trainer.step([Rollout((1,), (VOCABULARY,), (-1.0,), float(i), "a") for i in range(2)])


def test_a_completion_of_maximum_length_is_trained_and_one_more_token_refused(trainer: Trainer) -> None:
    def of(length: int) -> list[Rollout]:
        return [Rollout((1,), (2,) * (length - 1), (-3.0,) * (length - 1), float(i), "a") for i in range(2)]

    trainer.reset()
    assert trainer.step(of(LONGEST)).trained_tokens == 2 * (LONGEST - 1)
    with pytest.raises(UserError, match=f"{LONGEST + 1} tokens is longer than the model's {LONGEST}"):
        trainer.step(of(LONGEST + 1))


@pytest.mark.parametrize("field", ["rank", "learning_rate", "token_budget", "temperature"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_settings_that_cannot_work_are_refused(field: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{field} must be a positive"):
        Settings(**{field: value})


def test_adapters_that_do_not_fit_are_refused(trainer: Trainer, tiny: Path, tmp_path: Path) -> None:
    before = trainer.lora()
    other = make_model(tmp_path / "other", width=40)
    foreign = new_lora(Base.read(other), rank=4, alpha=8, seed=0)
    of_other = write_adapter(foreign.tensors, rank=4, alpha=8, model=other, root=tmp_path)
    renamed = make_model(tmp_path / "tiny")  # the same name and shapes, another tokenizer
    (renamed / "tokenizer.json").write_text((renamed / "tokenizer.json").read_text().replace("w60", "sixty"))
    retokenised = write_adapter(trainer.fresh.tensors, rank=4, alpha=8, model=renamed, root=tmp_path)
    thin = new_lora(trainer.base, rank=2, alpha=8, seed=0)
    cut = write_adapter(trainer.fresh.tensors, rank=4, alpha=8, model=tiny, root=tmp_path)
    (cut.path / WEIGHTS).write_bytes((cut.path / WEIGHTS).read_bytes()[:-100])
    for adapter, why in [
        (of_other.path, "trained on"),
        (retokenised.path, "another tokenizer"),
        (write_adapter(thin.tensors, rank=2, alpha=8, model=tiny, root=tmp_path).path, "rank 2 .* the trainer rank 4"),
        (cut.path, "cut short"),
        (tmp_path / "nowhere", "no adapter"),
        (foreign, "has shape"),
    ]:
        with pytest.raises((UserError, AdapterError), match=why):
            trainer.load(adapter)
    assert same(before, trainer.lora())


def test_a_changed_state_is_refused_and_the_one_before_it_serves(
    trainer: Trainer, tiny: Path, draw: Draw, tmp_path: Path
) -> None:
    trainer.reset()
    store = Store(tmp_path, tiny, tmp_path / "adapters")
    assert store.latest() is None
    trainer.step(draw(1))
    store.save(trainer.state())
    trainer.step(draw(1))
    newest = store.save(trainer.state())
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.raises(UserError, match="changed or cut; delete it to go on from the state before"):
        store.latest()
    newest.unlink()
    state = store.latest()
    assert state is not None and state.step == trainer.step_number - 1


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        Base.read(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    save_file({"embed.weight": np.zeros((2, 2), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="only Llama-like"):
        Base.read(tmp_path)


@pytest.mark.gpu
def test_bfloat16_on_a_gpu_agrees_with_float32_on_the_cpu(tiny: Path, draw: Draw) -> None:
    losses = [
        TorchTrainer(tiny, replace(SETTINGS, dtype=dtype, deterministic=False), device=device).step(draw(1)).loss
        for device, dtype in (("cpu", "float32"), ("cuda", "bfloat16"))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.1, abs=0.05)
