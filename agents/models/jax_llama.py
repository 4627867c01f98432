"""The Llama architecture (arXiv 2302.13971) in JAX, as pure functions over arrays that are read from safetensors.

One definition serves the sampler (with a key-value cache) and the trainer (without). The matrices of all layers are
stacked and the layers run in one `scan`, so compiling takes seconds however deep the model is. The base's parameters and
the adapter are two trees: the first is frozen, gradients are taken by the second only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from agents.models.adapters import PREFIX
from sandboxes.base import UserError

Array = jax.Array
Params = dict[str, Any]
"""`embed` [V, d], `norm` [d], `head` [V, d], and `layers`: each matrix [L, out, in], each norm [L, d]."""
Lora = dict[str, Any]
"""By matrix, e.g. `q_proj`: `a` [L, rank, in] and `b` [L, out, rank]; a matrix that is not named is not changed."""
Cache = tuple[Array, Array]
"""Keys and values [L, B, S, kv heads, head dimension]."""

MATRICES = {
    "q_proj": "self_attn.q_proj", "k_proj": "self_attn.k_proj", "v_proj": "self_attn.v_proj", "o_proj": "self_attn.o_proj",
    "gate_proj": "mlp.gate_proj", "up_proj": "mlp.up_proj", "down_proj": "mlp.down_proj",
}  # fmt: skip
NORMS = ("input_layernorm", "post_attention_layernorm")


@dataclass(frozen=True)
class Shape:
    """The numbers of `config.json` that the computation depends on. Hashable: a static argument of a jitted function."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    epsilon: float
    theta: float


def read_shape(folder: Path) -> Shape:
    """Read `config.json`. Raises UserError for an architecture that this file does not compute."""
    config = json.loads((folder / "config.json").read_text())
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", "default")
    odd = [name for name in ("attention_bias", "mlp_bias") if config.get(name)]
    if config.get("model_type") != "llama" or config.get("hidden_act") != "silu" or kind != "default" or odd:
        raise UserError(
            f"{folder.name} is not a plain Llama model (type {config.get('model_type')}, rope {kind}, {odd or 'no biases'}); "
            "use the torch trainer and sampler for it"
        )
    heads = int(config["num_attention_heads"])
    return Shape(
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or config["hidden_size"] // heads),
        epsilon=float(config["rms_norm_eps"]),
        theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
    )


def load_params(folder: Path, dtype: Any = jnp.float32) -> Params:
    """The weights of a model folder with one or more safetensors files. Raises UserError when one is missing."""
    shape = read_shape(folder)
    found: dict[str, npt.NDArray[Any]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as tensors:
            found |= {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - not a mapping
    try:
        layers = {
            short: jnp.stack(
                [jnp.asarray(found[f"model.layers.{n}.{name}.weight"], dtype) for n in range(shape.layers)]
            )
            for short, name in [*MATRICES.items(), *((norm, norm) for norm in NORMS)]
        }
        embed = jnp.asarray(found["model.embed_tokens.weight"], dtype)
        head = jnp.asarray(found["lm_head.weight"], dtype) if "lm_head.weight" in found else embed
        return {"embed": embed, "norm": jnp.asarray(found["model.norm.weight"], dtype), "head": head, "layers": layers}
    except KeyError as error:
        raise UserError(f"{folder} lacks the tensor {error}; fetch the model again") from None


def load_lora(tensors: Mapping[str, npt.NDArray[np.float32]], shape: Shape) -> Lora:
    """An adapter's tensors by peft's names, stacked by layer. Every layer must have the same matrices."""
    made: Lora = {}
    for short, name in MATRICES.items():
        stem = f"{PREFIX}model.layers.{{}}.{name}.lora_{{}}.weight"
        if stem.format(0, "A") in tensors:
            made[short] = {
                part: jnp.stack([jnp.asarray(tensors[stem.format(n, part.upper())]) for n in range(shape.layers)])
                for part in ("a", "b")
            }
    return made


def lora_tensors(lora: Lora) -> dict[str, npt.NDArray[np.float32]]:
    """The inverse of `load_lora`: copies on the host, by peft's names."""
    return {
        f"{PREFIX}model.layers.{n}.{MATRICES[short]}.lora_{part.upper()}.weight": np.array(layer)
        for short, pair in lora.items()
        for part, stacked in pair.items()
        for n, layer in enumerate(np.asarray(stacked))
    }


def new_cache(shape: Shape, rows: int, slots: int, dtype: Any = jnp.float32) -> Cache:
    """An empty cache for `rows` sequences of at most `slots` tokens."""
    size = (shape.layers, rows, slots, shape.kv_heads, shape.head_dim)
    return jnp.zeros(size, dtype), jnp.zeros(size, dtype)


def hidden_states(
    params: Params,
    lora: Lora,
    ids: Array,
    *,
    shape: Shape,
    scale: float | Array = 1.0,
    positions: Array | None = None,
    mask: Array | None = None,
    cache: Cache | None = None,
    cache_index: int | Array = 0,
    remat: bool = False,
) -> tuple[Array, Cache | None]:
    """Normalised hidden states [B, T, d] before the output matrix, and the cache with these tokens in it.

    ids [B, T]; scale: the adapter's alpha / rank; positions [B, T], counting from 0 when None. Without a cache attention is
    causal: pad on the right. With a cache of S slots the T tokens are written from slot `cache_index` on, and mask [B, S]
    says which slots hold tokens (these included); a slot after a token's own is never seen. remat: compute activations twice
    and keep few.
    """
    batch, length = ids.shape
    slots = length if cache is None else cache[0].shape[2]
    if positions is None:
        positions = jnp.broadcast_to(jnp.arange(length), (batch, length))
    turns = _rotations(positions, shape)
    seen = None
    if cache is not None or mask is not None:
        seen = jnp.arange(slots)[None, :] <= (jnp.arange(length) + cache_index)[:, None]
        seen = jnp.broadcast_to(seen[None, None], (batch, 1, length, slots))
        seen = seen if mask is None else seen & mask[:, None, None, :].astype(bool)

    def layer(x: Array, inputs: Any) -> tuple[Array, Any]:
        weights, change, slot = inputs
        project = partial(_project, weights, change, scale)
        h = _rms_norm(x, weights["input_layernorm"], shape.epsilon)
        q = _rotate(project("q_proj", h).reshape(batch, length, shape.heads, shape.head_dim), turns)
        k = _rotate(project("k_proj", h).reshape(batch, length, shape.kv_heads, shape.head_dim), turns)
        v = project("v_proj", h).reshape(batch, length, shape.kv_heads, shape.head_dim)
        if slot is not None:
            k, v = (
                jax.lax.dynamic_update_slice(old, new, (0, cache_index, 0, 0))
                for old, new in zip(slot, (k, v), strict=True)
            )
        mixed = jax.nn.dot_product_attention(q, k, v, mask=seen, is_causal=seen is None)
        x = x + project("o_proj", mixed.reshape(batch, length, -1))
        h = _rms_norm(x, weights["post_attention_layernorm"], shape.epsilon)
        x = x + project("down_proj", jax.nn.silu(project("gate_proj", h)) * project("up_proj", h))
        return x, None if slot is None else (k, v)

    body = jax.checkpoint(layer) if remat else layer
    x, cached = jax.lax.scan(body, params["embed"][ids], (params["layers"], lora, cache))
    return _rms_norm(x, params["norm"], shape.epsilon), cached


def forward(params: Params, lora: Lora, ids: Array, **options: Any) -> tuple[Array, Cache | None]:
    """Logits [B, T, V] in float32 and the cache; arguments as of `hidden_states`."""
    hidden, cache = hidden_states(params, lora, ids, **options)
    return (hidden @ params["head"].T).astype(jnp.float32), cache


def _project(weights: Params, change: Lora, scale: float | Array, name: str, x: Array) -> Array:
    """x [B, T, in] by the named matrix and what the adapter adds to it."""
    made = jnp.einsum("bti,oi->bto", x, weights[name])
    if name not in change:
        return made
    down = jnp.einsum("bti,ri->btr", x.astype(jnp.float32), change[name]["a"])
    return made + (scale * jnp.einsum("btr,or->bto", down, change[name]["b"])).astype(made.dtype)


def _rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    wide = x.astype(jnp.float32)
    return weight * (wide * jax.lax.rsqrt(jnp.mean(wide * wide, -1, keepdims=True) + epsilon)).astype(x.dtype)


def _rotations(positions: Array, shape: Shape) -> tuple[Array, Array]:
    """Cosines and sines [B, T, 1, head dimension / 2] of the rotary embedding (arXiv 2104.09864)."""
    exponents = np.arange(0, shape.head_dim, 2, dtype=np.float32) / shape.head_dim
    angles = positions[..., None, None].astype(jnp.float32) * jnp.asarray(1.0 / shape.theta**exponents, jnp.float32)
    return jnp.cos(angles), jnp.sin(angles)


def _rotate(x: Array, turns: tuple[Array, Array]) -> Array:
    """Turn each pair (i, i + half) of x [B, T, heads, head dimension] by its angle."""
    cosine, sine = (turn.astype(x.dtype) for turn in turns)
    left, right = jnp.split(x, 2, -1)
    return jnp.concatenate([left * cosine - right * sine, right * cosine + left * sine], -1)
