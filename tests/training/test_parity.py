"""One batch, one adapter, two frameworks: logits, losses, gradients and whole training steps agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch
import transformers

from agents.models.jax_llama import forward, hidden_states, load_lora, load_params, lora_tensors, new_cache, read_shape
from agents.models.smollm2 import model_folder
from training.checkpoint import Store
from training.jax_trainer import JaxTrainer
from training.lora import Lora
from training.rollout import Rollout
from training.torch_trainer import TorchTrainer
from training.trainer import Settings, Trainer

Draw = Callable[..., list[Rollout]]
EXACT = Settings(rank=4, alpha=8, dtype="float32", learning_rate=1e-2)
KINDS = ("mean_baseline", "dapo", "reinforce_kl", "dpo")
"""One objective for each kind of loss; the others differ in the advantage only, which is computed once for both."""


@pytest.fixture(scope="module")
def both(tiny: Path) -> tuple[TorchTrainer, JaxTrainer]:
    return TorchTrainer(tiny, EXACT, device="cpu"), JaxTrainer(tiny, EXACT)


def worn(trainer: Trainer, seed: int = 3) -> Lora:
    """An adapter whose B is not zero, as after some training."""
    rng = np.random.default_rng(seed)
    tensors = {name: (rng.normal(size=t.shape) * 0.1).astype(np.float32) for name, t in trainer.fresh.tensors.items()}
    return Lora(tensors, trainer.fresh.rank, trainer.fresh.alpha)


def kept_gradients(trainer: TorchTrainer | JaxTrainer, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, np.ndarray]]:
    """The running gradient just before each update."""
    kept: list[dict[str, np.ndarray]] = []
    update = trainer._update

    def keep() -> None:
        kept.append(trainer.gradients())
        update()

    monkeypatch.setattr(trainer, "_update", keep)
    return kept


@pytest.mark.parametrize("name", KINDS)
def test_loss_gradients_and_steps_agree(
    both: tuple[TorchTrainer, JaxTrainer], draw: Draw, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    gradients, stats = [], []
    for trainer in both:
        trainer.load(worn(trainer))
        kept = kept_gradients(trainer, monkeypatch)
        stats.append([trainer.step(draw(seed, choices=True), name) for seed in (1, 1)])
        gradients.append(kept)
    for torch_step, jax_step in zip(*gradients, strict=True):
        assert torch_step.keys() == jax_step.keys()
        for key, gradient in torch_step.items():
            np.testing.assert_allclose(
                gradient, jax_step[key], atol=1e-4 * max(1.0, np.abs(gradient).max()), err_msg=key
            )
    for ours, theirs in zip(*stats, strict=True):
        for field in ("loss", "grad_norm", "entropy", "kl_sampler", "kl_base"):
            left, right = getattr(ours, field), getattr(theirs, field)
            assert left == right or left == pytest.approx(right, rel=1e-4, abs=1e-4), field


def test_a_token_budget_changes_nothing_but_memory(tiny: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    for budget in (8, 4096):
        trainer = TorchTrainer(tiny, replace(EXACT, token_budget=budget), device="cpu")
        trainer.load(worn(trainer))
        found = kept_gradients(trainer, monkeypatch)
        trainer.step(draw(1, choices=True))
        kept.append(found[0])
    # Sums in another order: on an AMD EPYC one element of 1.7 is 1.03e-5 off, beside others of up to 2.6.
    for name, gradient in kept[0].items():
        np.testing.assert_allclose(gradient, kept[1][name], atol=1e-5 * max(1.0, np.abs(gradient).max()))


def test_gradient_checkpointing_changes_nothing_but_memory(
    tiny: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    for made, twice in ((TorchTrainer, False), (TorchTrainer, True), (JaxTrainer, True)):
        trainer = made(tiny, replace(EXACT, gradient_checkpointing=twice))
        trainer.load(worn(trainer))
        found = kept_gradients(trainer, monkeypatch)
        trainer.step(draw(1, choices=True))
        kept.append(found[0])
    for other in kept[1:]:
        for name, gradient in kept[0].items():
            np.testing.assert_allclose(gradient, other[name], atol=1e-4 * max(1.0, np.abs(gradient).max()))


def test_adapters_and_optimiser_move_between_the_two(tiny: Path, draw: Draw, tmp_path: Path) -> None:
    """Torch trains, JAX goes on; and JAX trains, torch goes on: as if one of them had made both steps."""
    ends = []
    for first, second in ((TorchTrainer, JaxTrainer), (JaxTrainer, TorchTrainer), (TorchTrainer, TorchTrainer)):
        before, after = first(tiny, EXACT), second(tiny, EXACT)
        before.step(draw(1))
        store = Store(tmp_path / f"{first.__name__}{second.__name__}", tiny, tmp_path / "adapters")
        store.save(before.state())
        state = store.latest()
        assert state is not None
        after.restore(state)
        for name, tensor in before.lora().tensors.items():
            np.testing.assert_array_equal(tensor, after.lora().tensors[name])
        after.step(draw(1))
        ends.append(after.lora().tensors)
    for end in ends[:2]:
        for name, tensor in ends[2].items():
            np.testing.assert_allclose(tensor, end[name], atol=2e-3)  # Adam divides tiny gradients by their own size


def test_peft_loads_what_we_write(tiny: Path, draw: Draw, tmp_path: Path) -> None:
    trainer = JaxTrainer(tiny, EXACT)
    trainer.step(draw(1))
    stored = Store(tmp_path, tiny, tmp_path / "adapters").put(trainer.lora())
    model = peft.PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(tiny), stored.path)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        logits = model(ids).logits[0].log_softmax(-1)
    expected = [float(logits[t, t + 1]) for t in range(3, 11)]
    [found] = trainer.logprobs([([0, 1, 2, 3], list(range(4, 12)))])
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_cache_gives_the_same_logits(tiny: Path) -> None:
    """Prompt in one pass, then token by token with one compiled program, with the prompts padded on the left."""
    shape, params = read_shape(tiny), load_params(tiny)
    lora = load_lora(worn(JaxTrainer(tiny, EXACT)).tensors, shape)
    run = jax.jit(partial(forward, shape=shape, scale=2.0))
    ids = jnp.asarray(np.random.default_rng(0).integers(0, 61, (2, 10)))
    plain, _ = run(params, lora, ids)
    padded = jnp.concatenate([jnp.zeros((2, 3), ids.dtype), ids], 1)
    places = jnp.broadcast_to(jnp.maximum(jnp.arange(13) - 3, 0), (2, 13))
    cache, rows = new_cache(shape, 2, 16), []
    for start, end in ((0, 8), (8, 9), (9, 10), (10, 11), (11, 12), (12, 13)):
        slots = jnp.arange(16)
        mask = jnp.broadcast_to((slots >= 3) & (slots < end), (2, 16))
        logits, cache = run(
            params,
            lora,
            padded[:, start:end],
            positions=places[:, start:end],
            mask=mask,
            cache=cache,
            cache_index=start,
        )
        rows.append(logits[:, -1])
    np.testing.assert_allclose(np.stack(rows, 1), plain[:, 4:], atol=1e-4)


def test_stacking_an_adapter_loses_nothing(tiny: Path) -> None:
    adapter = worn(JaxTrainer(tiny, EXACT))
    back = lora_tensors(load_lora(adapter.tensors, read_shape(tiny)))
    assert back.keys() == adapter.tensors.keys()
    for name, tensor in adapter.tensors.items():
        np.testing.assert_array_equal(tensor, back[name])


@pytest.mark.model
@pytest.mark.slow
def test_the_real_model_agrees_too(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolLM2-135M in float32: log-probabilities, loss and gradients within 1e-4."""
    folder, settings = model_folder(print), Settings(rank=4, alpha=8, dtype="float32")
    rollouts = draw(1, count=4, vocabulary=49_000, longest=8)
    found = []
    for made in (TorchTrainer, JaxTrainer):
        trainer = made(folder, settings)
        trainer.load(worn(trainer))
        logprobs = trainer.logprobs([(r.prompt, r.completion) for r in rollouts])
        kept = kept_gradients(trainer, monkeypatch)
        stats = trainer.step(rollouts)
        ids = np.asarray([rollouts[0].prompt])
        found.append((np.concatenate(logprobs), stats.loss, kept[0], real_logits(trainer, ids)))
    (ours, loss, gradients, logits), (theirs, other_loss, other_gradients, other_logits) = found
    np.testing.assert_allclose(logits, other_logits, atol=1e-4 * np.abs(logits).max())
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(ours).max())
    assert loss == pytest.approx(other_loss, rel=1e-4)
    largest = max(np.abs(g).max() for g in gradients.values())
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, other_gradients[name], atol=1e-4 * largest, err_msg=name)


def real_logits(trainer: Trainer, ids: np.ndarray) -> np.ndarray:
    """Logits [1, T, V] of the model with its adapter, straight from the network."""
    if isinstance(trainer, TorchTrainer):
        with torch.no_grad():
            return trainer.model(torch.as_tensor(ids)).logits.numpy()
    assert isinstance(trainer, JaxTrainer)
    hidden, _ = hidden_states(
        trainer.params, trainer.tree, jnp.asarray(ids), shape=trainer.shape, scale=trainer.fresh.scale
    )
    return np.asarray(hidden @ trainer.params["head"].T)
