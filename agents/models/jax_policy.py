"""The JAX sampler: the Llama of `jax_llama.py` with a key-value cache, compiled once for each bucket of shapes.

Lengths and row counts are rounded up, so that a run compiles a handful of programs and not one a batch. Draws invert the
cumulative distribution at the same uniform numbers as the torch sampler takes. With one seed both mostly say the same; where a
number falls among tokens of less than about 1e-5, the frameworks' rounding decides which of them it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agents.models.adapters import check_adapter, find_adapter, tensors_of
from agents.models.choice import choose_by_score
from agents.models.jax_llama import (
    Array,
    Cache,
    Lora,
    Params,
    Shape,
    hidden_states,
    load_lora,
    load_params,
    new_cache,
    read_shape,
)
from agents.models.policy import (
    Choice,
    Completion,
    Message,
    Prompt,
    Scored,
    Tolerance,
    batches,
    check_request,
    uniforms,
)  # fmt: skip
from agents.models.smollm2 import transformers_loaders

CACHE_TOKENS = 16_384
LOGIT_TOKENS = 1024
"""As in `torch_policy.py`: bounds of the cache and of the logits of one batch."""


class JaxPolicy:
    """A Llama model folder in JAX as a policy; see `policy.Policy`."""

    def __init__(self, model: Path) -> None:
        self._model, self._shape, self._params = model, read_shape(model), load_params(model)
        self._tokenizer: Any = transformers_loaders()[1].from_pretrained(model, local_files_only=True)
        self._end, self._limit = int(self._tokenizer.eos_token_id), 8192
        self._lora: Lora = {}
        self._scale = 1.0
        self._worn: str | None = None
        self.tolerance = Tolerance(match=1e-3, resolution=2e-5, noise=2e-5)

    @property
    def adapter(self) -> str | None:
        """Content hash of the adapter that it wears; None is the base model."""
        return self._worn

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, up to the point where the assistant speaks."""
        return self.encode(
            self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        )

    def load_adapter(self, adapter: Path | str | None) -> None:
        """Wear another adapter, or none; see `Policy.load_adapter`."""
        if adapter is None:
            self._lora, self._scale, self._worn = {}, 1.0, None
            return
        found = find_adapter(adapter)
        check_adapter(found, self._model)
        self._lora, self._scale = load_lora(tensors_of(found), self._shape), found.alpha / found.rank
        self._worn = found.sha

    def close(self) -> None:
        """Nothing is held but memory."""

    def sample(
        self, prompts: Sequence[Prompt], n: int, *, max_tokens: int, temperature: float = 1.0, seed: int = 0
    ) -> list[list[Completion]]:
        """`n` continuations of each prompt; see `Policy.sample`."""
        asked = [self._ids(prompt) for prompt in prompts]
        check_request(asked, n, max_tokens, temperature, self._limit)
        chances = uniforms(seed, len(asked), n, max_tokens).astype(np.float32)
        count = len(asked) * n
        made: dict[int, Completion] = {}
        for rows in batches([len(asked[row // n]) for row in range(count)], [max_tokens] * count, CACHE_TOKENS):
            width, steps = _bucket(len(rows), 1), _bucket(max_tokens, 16)
            logits, cache, mask = self._start([asked[row // n] for row in rows], steps, width)
            uniform = np.full((width, steps), 0.5, np.float32)
            uniform[: len(rows), :max_tokens] = chances[rows]
            tokens, logprobs = _continue(
                self._params, self._lora, self._scale, logits, cache, mask, uniform, np.arange(width) < len(rows),
                jnp.float32(temperature), max_tokens, shape=self._shape, end=self._end,
            )  # fmt: skip
            for row, ids, values in zip(rows, np.asarray(tokens).tolist(), np.asarray(logprobs).tolist(), strict=False):
                length = ids.index(self._end) + 1 if self._end in ids[:max_tokens] else max_tokens
                text = self._tokenizer.decode(ids[:length], skip_special_tokens=True)
                made[row] = Completion(
                    tuple(asked[row // n]),
                    tuple(ids[:length]),
                    tuple(values[:length]),
                    text,
                    ids[length - 1] == self._end,
                )
        return [[made[i * n + j] for j in range(n)] for i in range(len(asked))]

    def score(self, pairs: Sequence[Scored]) -> list[tuple[float, ...]]:
        """Log-probability of each given token; see `Policy.score`."""
        asked = [(self._ids(prompt), list(tokens)) for prompt, tokens in pairs]
        for prompt, tokens in asked:
            check_request([prompt], 1, max(len(tokens), 1), 1.0, self._limit)
        scores: list[tuple[float, ...]] = [()] * len(asked)
        lengths, new = [len(p) for p, _ in asked], [len(t) for _, t in asked]
        for rows in batches(lengths, new, CACHE_TOKENS, LOGIT_TOKENS):
            for row, values in zip(rows, self._scored([asked[row] for row in rows]), strict=True):
                scores[row] = values
        return scores

    def choose(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], *, temperature: float = 1.0, seed: int = 0
    ) -> list[Choice]:
        """One option for each prompt; see `Policy.choose`."""
        return choose_by_score(
            self.score, self.encode, self._end, prompts, options, temperature=temperature, seed=seed
        )  # fmt: skip

    def _ids(self, prompt: Prompt) -> list[int]:
        return self.encode(prompt) if isinstance(prompt, str) else list(prompt)

    def _start(self, prompts: list[list[int]], new: int, width: int) -> tuple[Array, Cache, Array]:
        """Read each distinct prompt once: logits [width, V], the cache with room for `new` tokens, and its mask."""
        distinct = list(dict.fromkeys(map(tuple, prompts)))
        place = {prompt: i for i, prompt in enumerate(distinct)}
        longest = _bucket(max(map(len, distinct)), 32)
        ids, mask = np.zeros((2, _bucket(len(distinct), 1), longest), np.int32)
        for i, prompt in enumerate(distinct):
            ids[i, longest - len(prompt) :], mask[i, longest - len(prompt) :] = prompt, 1
        rows = np.array([place[tuple(prompt)] for prompt in prompts] + [0] * (width - len(prompts)))
        read: tuple[Array, Cache, Array] = _read(
            self._params, self._lora, self._scale, ids, mask, rows, shape=self._shape, slots=longest + new
        )
        return read

    def _scored(self, pairs: list[tuple[list[int], list[int]]]) -> Iterator[tuple[float, ...]]:
        width, new = _bucket(len(pairs), 1), _bucket(max(len(tokens) for _, tokens in pairs), 8)
        given = np.zeros((width, new), np.int32)
        for i, (_, tokens) in enumerate(pairs):
            given[i, : len(tokens)] = tokens
        logits, cache, mask = self._start([prompt for prompt, _ in pairs], new, width)
        values = np.asarray(
            _score(self._params, self._lora, self._scale, logits, cache, mask, given, shape=self._shape)
        )
        for (_, tokens), row in zip(pairs, values.tolist(), strict=False):
            yield tuple(row[: len(tokens)])


def _bucket(size: int, least: int) -> int:
    """The next power of two, but at least `least`."""
    return max(least, 1 << max(size - 1, 0).bit_length())


@partial(jax.jit, static_argnames=("shape", "slots"))
def _read(
    params: Params, lora: Lora, scale: Array, ids: Array, mask: Array, rows: Array, *, shape: Shape, slots: int
) -> tuple[Array, Cache, Array]:
    """Prompts `ids` [D, P], padded on the left, into a cache of `slots`; then one copy for each of `rows` [B]."""
    places = jnp.clip(jnp.cumsum(mask, 1) - 1, 0)
    full = jnp.pad(mask, ((0, 0), (0, slots - mask.shape[1])))
    hidden, cache = hidden_states(
        params, lora, ids, shape=shape, scale=scale, positions=places, mask=full,
        cache=new_cache(shape, ids.shape[0], slots), cache_index=0,
    )  # fmt: skip
    assert cache is not None
    logits = (hidden[:, -1] @ params["head"].T).astype(jnp.float32)
    return logits[rows], (cache[0][:, rows], cache[1][:, rows]), full[rows]


@partial(jax.jit, static_argnames=("shape",))
def _score(
    params: Params, lora: Lora, scale: Array, logits: Array, cache: Cache, mask: Array, given: Array, *, shape: Shape
) -> Array:
    """Log-probabilities [B, M] of tokens `given` [B, M] after what is in the cache."""
    new = given.shape[1]
    start = mask.shape[1] - new
    places = mask.sum(1, keepdims=True) + jnp.arange(new)
    seen = mask.at[:, start:].set(1)  # what follows a token is hidden from it by the order of the slots
    hidden, _ = hidden_states(
        params, lora, given, shape=shape, scale=scale, positions=places, mask=seen, cache=cache, cache_index=start
    )
    later = (hidden[:, :-1] @ params["head"].T).astype(jnp.float32)
    logprobs = jax.nn.log_softmax(jnp.concatenate([logits[:, None], later], 1), -1)
    found: Array = jnp.take_along_axis(logprobs, given[..., None], 2)[..., 0]
    return found


@partial(jax.jit, static_argnames=("shape", "end"))
def _continue(
    params: Params, lora: Lora, scale: Array, logits: Array, cache: Cache, mask: Array, uniform: Array, alive: Array,
    temperature: Array, most: Array, *, shape: Shape, end: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Tokens and log-probabilities [B, T]; `uniform` [B, T] decides the draws. Stops when all rows ended, or at `most`."""
    steps = uniform.shape[1]
    start = mask.shape[1] - steps

    def going(state: tuple[Any, ...]) -> Array:
        step, alive = state[0], state[1]
        more: Array = (step < most) & alive.any()
        return more

    def draw(state: tuple[Any, ...]) -> tuple[Any, ...]:
        step, alive, tokens, values, logits, cache, mask = state
        logprobs = jax.nn.log_softmax(logits / jnp.where(temperature > 0, temperature, 1.0), -1)
        edges = jnp.cumsum(jnp.exp(logprobs), -1)
        drawn = (edges <= uniform[:, step][:, None] * edges[:, -1:]).sum(-1)
        chosen = jnp.where(temperature > 0, jnp.minimum(drawn, logits.shape[1] - 1), logprobs.argmax(-1))
        tokens = tokens.at[:, step].set(chosen)
        values = values.at[:, step].set(jnp.take_along_axis(logprobs, chosen[:, None], 1)[:, 0])
        mask = mask.at[:, start + step].set(1)
        hidden, cache = hidden_states(
            params, lora, chosen[:, None], shape=shape, scale=scale, positions=mask.sum(1, keepdims=True) - 1, mask=mask,
            cache=cache, cache_index=start + step,
        )  # fmt: skip
        logits = (hidden[:, -1] @ params["head"].T).astype(jnp.float32)
        return step + 1, alive & (chosen != end), tokens, values, logits, cache, mask

    empty = jnp.zeros(uniform.shape, jnp.int32), jnp.zeros(uniform.shape, jnp.float32)
    state = jax.lax.while_loop(going, draw, (jnp.int32(0), alive, *empty, logits, cache, mask))
    return state[2], state[3]
