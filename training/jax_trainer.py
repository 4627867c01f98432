"""LoRA training in JAX with optax: the same step, batch and adapter as the torch trainer, compiled.

XLA compiles one program for each bucket: rows, length and number of trained tokens rounded up to powers of two. So a run
compiles a few programs in its first steps and none later. Rows that only fill a bucket have weight 0 and cost time, not
truth.

    from training.jax_trainer import JaxTrainer
    trainer = JaxTrainer(model_folder(print), Settings())
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from agents.models.jax_llama import Params, Shape, hidden_states, load_lora, load_params, lora_tensors, read_shape
from sandboxes.base import UserError
from training.checkpoint import State
from training.lora import Lora
from training.objectives import Objective, constant, kl_estimate
from training.rollout import Batch, Floats, places_of
from training.trainer import Settings, Sums, Trainer

CHUNK = 256
"""Positions whose logits exist at the same time."""
SMALLEST = {"rows": 1, "length": 8, "places": 16, "choices": 4}

Array = jax.Array
Inputs = dict[str, Array]


class JaxTrainer(Trainer):
    """See `training.trainer.Trainer`. Runs on JAX's default device."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(folder, settings)
        self.shape = read_shape(folder)
        on_cpu = jax.default_backend() == "cpu"
        if (
            settings.deterministic
            and not on_cpu
            and "xla_gpu_deterministic_ops=true" not in os.environ.get("XLA_FLAGS", "")
        ):
            raise UserError(
                "deterministic JAX on a GPU needs XLA_FLAGS=--xla_gpu_deterministic_ops=true from the start"
            )
        # XLA multiplies bfloat16 natively on accelerators; on a CPU it does so only when it is asked for by name.
        wide = settings.dtype == "float32" or (settings.dtype == "auto" and on_cpu)
        self.dtype = jnp.float32 if wide else jnp.bfloat16
        self.params = load_params(folder, self.dtype)
        # `clip_norm` first, as torch does it: the moments see the clipped gradient.
        self.optimiser = optax.chain(
            optax.clip_by_global_norm(settings.clip_norm),
            optax.adamw(
                settings.learning_rate, *settings.betas, eps=settings.epsilon, weight_decay=settings.weight_decay
            ),
        )
        self._apply = jax.jit(self._applied)
        self.tree: Any
        self.moments: Any
        self.gradient: Any
        self._set_lora(self.fresh)

    # -- forward -------------------------------------------------------------------------------------------------

    def _score(self, batch: Batch, *, base: bool) -> Floats:
        lora = {} if base else self.tree
        found, _ = _scored(self.params, lora, _inputs(batch), shape=self.shape, scale=self.fresh.scale)
        return np.asarray(found)[: len(batch.rows), : batch.weights.shape[1]]

    # -- gradient and update -------------------------------------------------------------------------------------

    def _accumulate(self, batch: Batch, old: Floats | None, reference: Floats, chosen: Objective, sums: Sums) -> None:
        streams = {"sampler": batch.sampler, "weights": batch.weights, "advantage": batch.advantage, "base": reference}
        streams |= {} if old is None else {"old": old}
        padded = {name: _grown(values, _size(batch)) for name, values in streams.items()}
        remat = self.settings.gradient_checkpointing
        (loss, numbers), gradient = _gradient(
            self.tree,
            self.params,
            _inputs(batch),
            padded,
            shape=self.shape,
            scale=self.fresh.scale,
            chosen=chosen,
            remat=remat,
        )
        self.gradient = gradient if self.gradient is None else jax.tree.map(jnp.add, self.gradient, gradient)
        sums.loss += float(loss)
        sums.entropy += float(numbers["entropy"])
        sums.kl_sampler += float(numbers["kl_sampler"])

    def _gradient_norm(self) -> float:
        return float(optax.global_norm(self.gradient))

    def _update(self) -> None:
        self.tree, self.moments = self._apply(self.tree, self.moments, self.gradient)
        self._forget()

    def _applied(self, tree: Any, moments: Any, gradient: Any) -> tuple[Any, Any]:
        updates, moments = self.optimiser.update(gradient, moments, tree)
        return optax.apply_updates(tree, updates), moments

    def _forget(self) -> None:
        self.gradient = None

    # -- what moves in and out -----------------------------------------------------------------------------------

    def lora(self) -> Lora:
        """A copy of the adapter as it is now."""
        return Lora(lora_tensors(self.tree), self.settings.rank, self.settings.alpha)

    def gradients(self) -> dict[str, Floats]:
        """A copy of the running gradient, by the adapter's names."""
        return lora_tensors(self.gradient)

    def _set_lora(self, lora: Lora) -> None:
        self.tree = load_lora(lora.tensors, self.shape)
        self.moments = self.optimiser.init(self.tree)
        self._forget()

    def state(self) -> State:
        """All that the next step depends on."""
        first, second = (lora_tensors(optax.tree_utils.tree_get(self.moments, name)) for name in ("mu", "nu"))
        return State(
            lora=self.lora(), first=first, second=second, updates=self.update_number, step=self.step_number,
            rng=self.rng.bit_generator.state,
        )  # fmt: skip

    def _set_moments(self, state: State) -> None:
        self.moments = optax.tree_utils.tree_set(
            self.moments,
            count=jnp.asarray(state.updates, jnp.int32),
            mu=load_lora(state.first, self.shape),
            nu=load_lora(state.second, self.shape),
        )


# -- the compiled functions ------------------------------------------------------------------------------------------


def _logprobs(
    params: Params, lora: Any, inputs: Inputs, shape: Shape, scale: float, remat: bool = False
) -> tuple[Array, Array]:
    """Log-probabilities [B, T] of the trained tokens, zeros elsewhere, and the sum of their entropies."""
    tokens = inputs["tokens"]
    hidden, _ = hidden_states(params, lora, tokens[:, :-1], shape=shape, scale=scale, remat=remat)
    states = hidden.reshape(-1, hidden.shape[-1]) / inputs["temperature"].astype(hidden.dtype)
    targets = tokens[:, 1:].reshape(-1)
    # A place past the end pads the bucket: it reads the last row, and its result is dropped.
    logprobs, entropy = jnp.zeros(len(targets)), jnp.zeros(())
    for places, allowed in ((inputs["free"], None), (inputs["among"], inputs["allowed"])):
        if not len(places):
            continue
        real = places < len(targets)
        at = jnp.where(real, places, 0)
        if allowed is None:
            found, entropies = token_logprobs(states[at], params["head"], targets[at])
        else:
            found, entropies = chosen_logprobs(states[at], params["head"], targets[at], allowed)
        logprobs = logprobs.at[places].set(found, mode="drop")
        entropy += jnp.sum(jnp.where(real, entropies, 0.0))
    return logprobs.reshape(tokens.shape[0], tokens.shape[1] - 1), entropy


@partial(jax.jit, static_argnames=("shape", "scale"))
def _scored(params: Params, lora: Any, inputs: Inputs, *, shape: Shape, scale: float) -> tuple[Array, Array]:
    return _logprobs(params, lora, inputs, shape, scale)


@partial(jax.jit, static_argnames=("shape", "scale", "chosen", "remat"))
def _gradient(
    lora: Any,
    params: Params,
    inputs: Inputs,
    streams: dict[str, Array],
    *,
    shape: Shape,
    scale: float,
    chosen: Objective,
    remat: bool,
) -> Any:
    """((loss, numbers), gradient by the adapter)."""

    def loss(tree: Any) -> tuple[Array, dict[str, Array]]:
        logprobs, entropy = _logprobs(params, tree, inputs, shape, scale, remat)
        now = constant(logprobs)
        value = chosen.loss(logprobs, **{"old": now, **streams})
        kl = kl_estimate(streams["sampler"], now, streams["weights"])
        return value, {"entropy": constant(entropy), "kl_sampler": kl}

    return jax.value_and_grad(loss, has_aux=True)(lora)


@jax.custom_vjp
def token_logprobs(hidden: Array, head: Array, targets: Array) -> tuple[Array, Array]:
    """Log-probability [n] and entropy [n] of the next token, from hidden states [n, d] and the output matrix [V, d].

    As `training.torch_trainer.TokenLogprobs`: the gradient by the hidden state is computed with the value, chunk by chunk.
    The output matrix is frozen.
    """
    logprobs, entropies, _ = _head(hidden, head, targets, with_rows=False)
    return logprobs, entropies


def _head(hidden: Array, head: Array, targets: Array, *, with_rows: bool) -> tuple[Array, Array, Array]:
    def chunk(part: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        states, wanted = part
        logits = jax.nn.log_softmax(jnp.einsum("nd,vd->nv", states, head).astype(jnp.float32))
        p = jnp.exp(logits)
        rows = head[wanted] - jnp.einsum("nv,vd->nd", p.astype(head.dtype), head) if with_rows else states
        return jnp.take_along_axis(logits, wanted[:, None], 1)[:, 0], -jnp.sum(p * logits, 1), rows

    count = len(hidden)
    if count <= CHUNK:
        return chunk((hidden, targets))
    parts = (hidden.reshape(-1, CHUNK, hidden.shape[1]), targets.reshape(-1, CHUNK))
    logprobs, entropies, rows = jax.lax.map(chunk, parts)
    return logprobs.reshape(count), entropies.reshape(count), rows.reshape(count, -1)


def _forward_head(hidden: Array, head: Array, targets: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    logprobs, entropies, rows = _head(hidden, head, targets, with_rows=True)
    return (logprobs, entropies), (rows, head)


def _backward_head(kept: tuple[Array, Array], gradients: tuple[Array, Array]) -> tuple[Array, Array, None]:
    rows, head = kept
    return rows * gradients[0][:, None].astype(rows.dtype), jnp.zeros_like(head), None


token_logprobs.defvjp(_forward_head, _backward_head)


def chosen_logprobs(hidden: Array, head: Array, targets: Array, allowed: Array) -> tuple[Array, Array]:
    """Log-probability [n] and entropy [n] of a token chosen among `allowed` [n, K] ids (-1: none), over these ids only."""
    logits = jnp.einsum("nd,nkd->nk", hidden, head[jnp.maximum(allowed, 0)]).astype(jnp.float32)
    logprobs = jax.nn.log_softmax(jnp.where(allowed >= 0, logits, -1e30))
    column = jnp.argmax(allowed == targets[:, None], 1)
    entropies = jnp.sum(jax.scipy.special.entr(jnp.exp(logprobs)), 1)
    return jnp.take_along_axis(logprobs, column[:, None], 1)[:, 0], entropies


# -- buckets ---------------------------------------------------------------------------------------------------------


def _inputs(batch: Batch) -> Inputs:
    """A micro-batch grown to its bucket."""
    width, size = batch.tokens.shape[1], _size(batch)
    free, among = places_of(batch)
    # Places are renumbered for the wider rows; those that only fill the bucket point past the end.
    places = [_filled(p // (width - 1) * size[1] + p % (width - 1), size[0] * size[1]) for p in (free, among)]
    choices = _bucket(batch.allowed.shape[2], "choices") if len(among) else 0
    allowed = np.full((len(places[1]), choices), -1, np.int32)
    if len(among):
        allowed[: len(among), : batch.allowed.shape[2]] = batch.allowed.reshape(-1, batch.allowed.shape[2])[among]
        allowed[len(among) :, 0] = 0
    return {
        "tokens": jnp.asarray(_grown(batch.tokens, (size[0], size[1] + 1))),
        "free": jnp.asarray(places[0]),
        "among": jnp.asarray(places[1]),
        "allowed": jnp.asarray(allowed),
        "temperature": jnp.asarray(batch.temperature, jnp.float32),
    }


def _size(batch: Batch) -> tuple[int, int]:
    """Rows and columns [N, T] of a micro-batch's bucket."""
    rows, width = batch.tokens.shape
    return _bucket(rows, "rows"), _bucket(width - 1, "length")


def _bucket(count: int, what: str) -> int:
    """The next power of two."""
    return max(SMALLEST[what], 1 << (count - 1).bit_length())


def _filled(places: NDArray[np.int64], past: int) -> NDArray[np.int32]:
    if not len(places):
        return np.zeros(0, np.int32)
    return np.concatenate([places, np.full(_bucket(len(places), "places") - len(places), past)]).astype(np.int32)


def _grown(values: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    grown = np.zeros(size, values.dtype)
    grown[: values.shape[0], : values.shape[1]] = values
    return grown
