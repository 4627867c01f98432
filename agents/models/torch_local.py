"""A language model in this process, run with torch on the CPU or a GPU; by default SmolLM2-135M-Instruct (`smollm2.py`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agents.models.adapters import check_adapter, find_adapter
from agents.models.policy import Message
from agents.models.smollm2 import model_folder, transformers_loaders
from benchmarks.fetch import Progress

MAX_PROMPT_TOKENS = 4096
BATCH_TOKENS = 4096
"""Padded tokens of one forward pass: large enough to keep the cores busy, small enough for a laptop's memory."""


class Cancelled(Exception):
    """The caller no longer wants the answer."""


@dataclass(frozen=True)
class Reply:
    """One generated answer and what it cost, in tokens."""

    text: str
    prompt_tokens: int
    completion_tokens: int


def fastest_dtype() -> torch.dtype:
    """bfloat16 where this CPU multiplies it faster than float32 (2.5 times here), else float32. Takes milliseconds."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.ones(256, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
        _ = left @ right
        begun = time.perf_counter()
        for _ in range(5):
            _ = left @ right
        seconds[dtype] = time.perf_counter() - begun
    return min(seconds, key=lambda dtype: seconds[dtype])


class LocalModel:
    """The model, its tokenizer, and at most one LoRA adapter. Calls from several threads are served one at a time."""

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: torch.dtype | None = None) -> None:
        auto_model, auto_tokenizer = transformers_loaders()
        chosen = dtype or (fastest_dtype() if device == "cpu" else torch.bfloat16)
        self.tokenizer: Any = auto_tokenizer.from_pretrained(folder, local_files_only=True)
        self.network: Any = auto_model.from_pretrained(folder, dtype=chosen, local_files_only=True)
        self.network.to(device).eval()
        self.device, self.dtype, self.folder = device, chosen, folder
        self.adapter: str | None = None
        """Content hash of the adapter that is worn; None is the base model."""
        self._pad = int(self.tokenizer.pad_token_id)
        self._lock = threading.RLock()

    @classmethod
    def load(cls, progress: Progress, *, device: str = "cpu") -> LocalModel:
        """Fetch when needed, then load. Raises UserError when the weights can't be had."""
        return cls(model_folder(progress), device=device)

    def wear(self, adapter: Path | str | None) -> None:
        """Put on an adapter (its folder, or its hash in the store) in place of the one before; None takes it off.

        The base weights are never touched: nothing is merged, because bfloat16 weights would round a small update away,
        and because taking it off must give back the very same model. Raises AdapterError; then nothing has changed.
        """
        found = None if adapter is None else find_adapter(adapter)
        if found is not None:
            check_adapter(found, self.folder)
        with self._lock:
            if self.adapter is not None:
                self.network, self.adapter = self.network.unload(), None
            if found is not None:
                from peft import PeftModel

                self.network = PeftModel.from_pretrained(self.network, found.path).to(self.device).eval()
                self.adapter = found.sha

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other thread use the model meanwhile."""
        with self._lock:
            yield

    @contextmanager
    def wearing(self, adapter: str | None) -> Iterator[None]:
        """Wear an adapter of the store, by its hash, and let no other thread use the model meanwhile."""
        with self._lock:
            if self.adapter != adapter:
                self.wear(adapter)
            yield

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; no special tokens are added."""
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, up to the point where the assistant speaks."""
        text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        return self.encode(text)

    def choose(self, prompts: Sequence[str], options: Sequence[Sequence[str]]) -> list[int]:
        """For each prompt, the index of the option that the model finds most probable as its continuation.

        An option of several tokens counts with the sum of its log-probabilities. Raises ValueError for a prompt that is
        empty or too long, or without options.
        """
        encoded = [self.encode(prompt) for prompt in prompts]
        return self.choose_encoded(encoded, [[self.encode(text) for text in given] for given in options])

    def choose_encoded(
        self,
        prompts: Sequence[list[int]],
        options: Sequence[Sequence[list[int]]],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[int]:
        """`choose` on token ids. `cancelled` is asked before each forward pass; then raises Cancelled."""
        rows: list[tuple[int, list[int], list[list[int]]]] = []  # (prompt, tokens, continuations scored at the end)
        for index, (prompt, given) in enumerate(zip(prompts, options, strict=True)):
            self._check(prompt)
            if not given or not all(given):
                raise ValueError("every prompt needs at least one option, and none may be empty")
            if all(len(option) == 1 for option in given):
                rows.append((index, prompt, list(given)))
            else:
                rows.extend((index, prompt + option[:-1], [option]) for option in given)
        scores = self._score(rows, cancelled)
        found: list[list[float]] = [[] for _ in prompts]
        for (index, _, _), values in zip(rows, scores, strict=True):
            found[index].extend(values)
        return [max(range(len(values)), key=values.__getitem__) for values in found]

    def _check(self, prompt: Sequence[int]) -> None:
        if not 0 < len(prompt) <= MAX_PROMPT_TOKENS:
            raise ValueError(f"a prompt has 1 to {MAX_PROMPT_TOKENS} tokens, not {len(prompt)}")

    def _score(
        self, rows: Sequence[tuple[int, list[int], list[list[int]]]], cancelled: Callable[[], bool]
    ) -> list[list[float]]:
        """Log-probability of each continuation of each row; rows of similar length share a forward pass."""
        scores: list[list[float]] = [[] for _ in rows]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]), reverse=True)
        while order:
            size = max(1, BATCH_TOKENS // len(rows[order[0]][1]))
            batch, order = order[:size], order[size:]
            if cancelled():
                raise Cancelled
            keep = max(len(option) for i in batch for option in rows[i][2])
            logprobs = self._forward([rows[i][1] for i in batch], keep)
            for row, i in zip(logprobs, batch, strict=True):
                for option in rows[i][2]:
                    ids = torch.tensor(option, device=row.device)
                    scores[i].append(float(row[-len(option) :].gather(1, ids[:, None]).sum()))
        return scores

    def padded(self, sequences: Sequence[list[int]]) -> dict[str, torch.Tensor]:
        """Left-padded ids, mask and positions [batch, longest]: the last position is then the last of every sequence."""
        longest = max(len(s) for s in sequences)
        ids = torch.tensor([[self._pad] * (longest - len(s)) + s for s in sequences], device=self.device)
        mask = torch.tensor([[0] * (longest - len(s)) + [1] * len(s) for s in sequences], device=self.device)
        return {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(min=0)}

    def _forward(self, sequences: Sequence[list[int]], keep: int) -> torch.Tensor:
        """Log-probabilities of the next token at the last `keep` positions, float32 [batch, keep, vocabulary]."""
        with self._lock, torch.inference_mode():
            logits = self.network(**self.padded(sequences), logits_to_keep=keep, use_cache=False).logits
            return torch.log_softmax(logits.float(), dim=-1)

    def chat_encoded(
        self, conversations: Sequence[list[int]], max_tokens: int, *, temperature: float = 0.0, seed: int = 0
    ) -> list[Reply]:
        """Continue conversations given as token ids, together in one batch. `temperature` 0 is greedy.

        Raises ValueError for a conversation that is empty or too long.
        """
        for conversation in conversations:
            self._check(conversation)
        inputs = self.padded(conversations)
        del inputs["position_ids"]
        how: dict[str, Any] = {"do_sample": temperature > 0}
        if temperature > 0:
            how["temperature"] = temperature
        with self._lock, torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = self.network.generate(**inputs, max_new_tokens=max_tokens, pad_token_id=self._pad, **how)
        replies = []
        for conversation, row in zip(conversations, made[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            end = row.index(self._pad) + 1 if self._pad in row else len(row)  # the pad token is the end-of-turn token
            text = self.tokenizer.decode(row[:end], skip_special_tokens=True).strip()
            replies.append(Reply(text, len(conversation), end))
        return replies
