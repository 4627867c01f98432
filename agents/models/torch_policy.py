"""The torch sampler: batched, with a key-value cache, in this process.

Prompts of one call share forward passes: they are left-padded, each distinct one is read once, and its cache is then
copied to all rows that go on from it (n samples of a prompt, or all options of a choice). Rows that ended leave the batch.
Draws are made by inverting the cumulative distribution at given uniform numbers, so a row's tokens depend on its own seed
and not on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from agents.models.choice import choose_by_score
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
)
from agents.models.torch_local import LocalModel

CACHE_TOKENS = 16_384
"""Tokens in the key-value cache of one batch: about 750 MB in float32 for SmolLM2-135M."""
LOGIT_TOKENS = 1024
"""Positions of one forward pass whose logits over the whole vocabulary are held: about 200 MB for SmolLM2-135M."""

TOLERANCE = {
    torch.float32: Tolerance(match=1e-3, resolution=1e-5, noise=2e-5),
    torch.bfloat16: Tolerance(match=0.5, resolution=0.08, noise=1e-3),
    torch.float16: Tolerance(match=0.1, resolution=0.02, noise=1e-3),
}
"""Measured with SmolLM2-135M on two cores against one plain float32 pass, nats a token: float32 at most 1.4e-5 (the order of
sums in another batch shape), bfloat16 at most 0.26, root mean square 0.073 (8 bits of each factor). The same call twice
gave the same numbers, up to 2.4e-7 where memory lay otherwise. float16 is not measured: it is for a GPU."""


class TorchPolicy:
    """A `LocalModel` as a policy; see `policy.Policy`."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model
        self._end = int(model.tokenizer.eos_token_id)
        self._limit = int(model.network.config.max_position_embeddings)

    @property
    def adapter(self) -> str | None:
        """Content hash of the adapter that it wears; None is the base model."""
        return self._model.adapter

    @property
    def tolerance(self) -> Tolerance:
        """How closely it agrees with a float32 trainer."""
        return TOLERANCE[self._model.dtype]

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        return self._model.encode(text)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, up to the point where the assistant speaks."""
        return self._model.encode_chat(messages)

    def load_adapter(self, adapter: Path | str | None) -> None:
        """Wear an adapter; see `LocalModel.wear`."""
        self._model.wear(adapter)

    def close(self) -> None:
        """Nothing is held but memory."""

    def sample(
        self, prompts: Sequence[Prompt], n: int, *, max_tokens: int, temperature: float = 1.0, seed: int = 0
    ) -> list[list[Completion]]:
        """`n` continuations of each prompt; see `Policy.sample`."""
        asked = [self._ids(prompt) for prompt in prompts]
        check_request(asked, n, max_tokens, temperature, self._limit)
        chances = torch.from_numpy(uniforms(seed, len(asked), n, max_tokens))
        made: list[Completion | None] = [None] * (len(asked) * n)
        for rows in batches([len(asked[row // n]) for row in range(len(made))], [max_tokens] * len(made), CACHE_TOKENS):
            batch = [asked[row // n] for row in rows]
            for row, (tokens, logprobs) in zip(rows, self._continue(batch, chances[rows], temperature), strict=True):
                made[row] = self._completion(asked[row // n], tokens, logprobs)
        done = [c for c in made if c is not None]
        return [done[i : i + n] for i in range(0, len(done), n)]

    def score(self, pairs: Sequence[Scored]) -> list[tuple[float, ...]]:
        """Log-probability of each given token; see `Policy.score`."""
        asked = [(self._ids(prompt), list(tokens)) for prompt, tokens in pairs]
        for prompt, tokens in asked:
            check_request([prompt], 1, max(len(tokens), 1), 1.0, self._limit)
        scores: list[tuple[float, ...]] = [()] * len(asked)
        lengths, new = [len(p) for p, _ in asked], [len(t) for _, t in asked]
        for rows in batches(lengths, new, CACHE_TOKENS, LOGIT_TOKENS):
            for row, values in zip(rows, self._scored([asked[row] for row in rows]), strict=True):
                scores[row] = tuple(values)
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

    def _completion(self, prompt: list[int], tokens: list[int], logprobs: list[float]) -> Completion:
        text = self._model.tokenizer.decode(tokens, skip_special_tokens=True)
        return Completion(tuple(prompt), tuple(tokens), tuple(logprobs), text, tokens[-1] == self._end)

    def _start(self, prompts: list[list[int]]) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Read each distinct prompt once: last logits [rows, vocabulary], cache of all rows, mask [rows, longest]."""
        distinct = list(dict.fromkeys(map(tuple, prompts)))
        place = {prompt: i for i, prompt in enumerate(distinct)}
        rows = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=self._model.device)
        inputs = self._model.padded([list(prompt) for prompt in distinct])
        out = self._model.network(**inputs, use_cache=True, logits_to_keep=1)
        out.past_key_values.batch_select_indices(rows)
        return out.logits[rows, -1], out.past_key_values, inputs["attention_mask"][rows]

    def _continue(
        self, prompts: list[list[int]], chances: torch.Tensor, temperature: float
    ) -> list[tuple[list[int], list[float]]]:
        """Tokens and their log-probabilities for each row; `chances` [rows, max_tokens] decides the draws."""
        made: list[tuple[list[int], list[float]]] = [([], []) for _ in prompts]
        with self._model.alone(), torch.inference_mode():
            logits, cache, mask = self._start(prompts)
            alive = torch.arange(len(prompts))
            for step in range(chances.shape[1]):
                logprobs = (logits.float() / (temperature or 1.0)).log_softmax(-1)
                chosen = logprobs.argmax(-1) if temperature == 0 else drawn(logprobs, chances[alive, step])
                taken = logprobs.gather(1, chosen[:, None])[:, 0]
                for row, token, value in zip(alive.tolist(), chosen.tolist(), taken.tolist(), strict=True):
                    made[row][0].append(token)
                    made[row][1].append(value)
                going = (chosen != self._end).nonzero()[:, 0]
                if len(going) == 0 or step + 1 == chances.shape[1]:
                    break
                if len(going) < len(alive):
                    alive, chosen, mask = alive[going.cpu()], chosen[going], mask[going]
                    cache.batch_select_indices(going)
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
                places = mask.sum(1, keepdim=True) - 1
                out = self._model.network(
                    input_ids=chosen[:, None], attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
                )  # fmt: skip
                logits, cache = out.logits[:, -1], out.past_key_values
        return made

    def _scored(self, pairs: list[tuple[list[int], list[int]]]) -> Iterator[list[float]]:
        """Log-probabilities of the tokens of each pair."""
        longest = max(len(tokens) for _, tokens in pairs)
        if longest == 0:
            yield from ([] for _ in pairs)
            return
        # Right-padded with any token: nothing before it sees it, and nothing reads its logits.
        given = torch.tensor([tokens + [0] * (longest - len(tokens)) for _, tokens in pairs], device=self._model.device)
        with self._model.alone(), torch.inference_mode():
            first, cache, mask = self._start([prompt for prompt, _ in pairs])
            logits = first[:, None]
            if longest > 1:
                grown = torch.cat([mask, mask.new_ones(len(mask), longest - 1)], 1)
                places = mask.sum(1, keepdim=True) + torch.arange(longest - 1, device=mask.device)
                out = self._model.network(
                    input_ids=given[:, :-1], attention_mask=grown, position_ids=places, past_key_values=cache, use_cache=True
                )  # fmt: skip
                logits = torch.cat([logits, out.logits], 1)
            logprobs = logits.float().log_softmax(-1).gather(2, given[..., None])[..., 0]
        for (_, tokens), row in zip(pairs, logprobs.tolist(), strict=True):
            yield row[: len(tokens)]


def drawn(logprobs: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
    """Ids [rows] at which the cumulative distribution of `logprobs` [rows, vocabulary] passes `chances` [rows] in [0, 1).

    In float64: a float32 sum over fifty thousand tokens is off by more than the rare tokens' probabilities.
    """
    edges = logprobs.double().exp().cumsum(-1)
    wanted = chances.to(edges.device)[:, None] * edges[:, -1:]
    return torch.searchsorted(edges, wanted, right=True)[:, 0].clamp(max=logprobs.shape[1] - 1)
