"""The one interface to a language model that acts and may be trained: sample, score, choose, wear an adapter.

A trainer needs from whoever samples the tokens *and* the probability with which each was drawn; a policy gradient that
pairs one model's tokens with another's probabilities is silently wrong. So every sampler of ours returns both, draws
from the whole vocabulary (no top-k, no top-p) and says how closely its log-probabilities agree with float32 (`Tolerance`).

Samplers: `torch_policy.py`, `jax_policy.py`, `vllm_policy.py`, `langchain_policy.py` (text only).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sandboxes.base import SandboxError, UserError

Prompt = str | Sequence[int]
"""Text (encoded without special tokens) or token ids. A conversation is encoded with `Policy.encode_chat` first."""
Message = dict[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`."""
Scored = tuple[Prompt, Sequence[int]]
"""A prompt, and the token ids that follow it."""


class Unsupported(UserError):
    """This sampler cannot do that at all, e.g. score given tokens through a provider's chat API."""


class ServerGone(SandboxError):
    """The model's server does not answer, or ended in mid-round. What was sampled in this round does not count."""


@dataclass(frozen=True)
class Completion:
    """One continuation of one prompt."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    """With the end-of-turn token where the model wrote it. Empty where a provider does not tell."""
    logprobs: tuple[float, ...]
    """Natural logarithm of the probability with which each token was drawn, i.e. of softmax(logits / temperature); at
    temperature 0, where nothing is drawn, of softmax(logits). As long as `tokens`; empty where a provider does not tell."""
    text: str
    finished: bool
    """False when it was cut at `max_tokens`."""


@dataclass(frozen=True)
class Choice:
    """One option out of a list, drawn token by token among those that can still become an option (see `choice.py`)."""

    index: int
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    """The option's tokens, with the end-of-turn token where another option goes on from there."""
    allowed: tuple[tuple[int, ...], ...]
    """At each position the ids that were allowed, this one included: what a trainer must renormalise over."""
    logprobs: tuple[float, ...]
    """Natural logarithm of the probability with which each option would have been drawn; they sum to one."""


@dataclass(frozen=True)
class Tolerance:
    """How a sampler's log-probabilities (nats a token) differ from a float32 trainer's when nothing is wrong."""

    match: float
    """Largest difference of one token from the trainer's."""
    resolution: float
    """Root mean square difference from the trainer's: updates much smaller than this can't be told apart here."""
    noise: float
    """Largest difference between two identical calls with the same weights, e.g. because the server batched otherwise."""


class Policy(Protocol):
    """A language model with a tokenizer, and at most one LoRA adapter on it. Calls raise ValueError for an empty prompt
    or option, and ServerGone when a server ends."""

    @property
    def adapter(self) -> str | None:
        """Content hash of the adapter that it wears; None is the base model."""
        ...

    @property
    def tolerance(self) -> Tolerance:
        """How closely it agrees with a float32 trainer."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; no special tokens are added."""
        ...

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, up to the point where the assistant speaks."""
        ...

    def sample(
        self, prompts: Sequence[Prompt], n: int, *, max_tokens: int, temperature: float = 1.0, seed: int = 0
    ) -> list[list[Completion]]:
        """`n` continuations of each prompt. `temperature` 0 is greedy."""
        ...

    def score(self, pairs: Sequence[Scored]) -> list[tuple[float, ...]]:
        """Natural log-probability of each given token after its prompt, at temperature 1."""
        ...

    def choose(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], *, temperature: float = 1.0, seed: int = 0
    ) -> list[Choice]:
        """One option for each prompt, drawn with the probabilities that are returned. `temperature` 0 takes the likeliest."""
        ...

    def load_adapter(self, adapter: Path | str | None) -> None:
        """Wear an adapter, given by its folder or its hash in the store, in place of the one before; None takes it off.

        Raises `adapters.AdapterError` for one that does not fit; then nothing has changed.
        """
        ...

    def close(self) -> None:
        """Give back what it holds: connections, memory."""
        ...


def uniforms(seed: int, prompts: int, n: int, max_tokens: int) -> npt.NDArray[np.float64]:
    """Random numbers in [0, 1) that decide the draws, [prompts * n, max_tokens].

    Each row depends on the seed and its own place only, so that neither the batch nor the framework changes a draw.
    """
    rows = [np.random.default_rng([seed, i, j]).random(max_tokens) for i in range(prompts) for j in range(n)]
    return np.array(rows).reshape(prompts * n, max_tokens)


def check_request(prompts: Sequence[Sequence[int]], n: int, max_tokens: int, temperature: float, limit: int) -> None:
    """Raise ValueError unless the request can be served by a context of `limit` tokens."""
    if n < 1 or max_tokens < 1 or not 0 <= temperature < float("inf"):
        raise ValueError(
            f"n and max_tokens are at least 1 and temperature at least 0, not {n}, {max_tokens}, {temperature}"
        )
    for prompt in prompts:
        if not 0 < len(prompt) <= limit - max_tokens:
            raise ValueError(
                f"a prompt has 1 to {limit - max_tokens} tokens beside {max_tokens} new ones, not {len(prompt)}"
            )


def batches(lengths: Sequence[int], new: Sequence[int], cache: int, logits: int | None = None) -> Iterator[list[int]]:
    """Rows that share a batch: similar lengths together, at most `cache` padded tokens and `logits` new ones each."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i] + new[i], i), reverse=True)
    batch: list[int] = []
    widest = most = 0
    for row in order:
        wide, fresh = max(widest, lengths[row] + new[row]), max(most, new[row])
        full = (len(batch) + 1) * wide > cache or (logits is not None and (len(batch) + 1) * fresh > logits)
        if batch and full:
            yield batch
            batch, wide, fresh = [], lengths[row] + new[row], new[row]
        batch.append(row)
        widest, most = wide, fresh
    if batch:
        yield batch
