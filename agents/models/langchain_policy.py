"""Any provider's chat model as a policy that acts but can't be trained: text comes back, tokens and probabilities do not.

The model is named as langchain's `init_chat_model` wants it, e.g. `openai:gpt-…` or `anthropic:claude-…`, and the provider's
package must be installed. Keys are read by that package from the environment. They are not arguments here, so that they
can't end in a config, a trace or a record; error messages are searched for them before they are shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage

from agents.models.policy import Choice, Completion, Message, Prompt, Scored, ServerGone, Tolerance, Unsupported
from sandboxes.base import UserError

AT_ONCE = 8
"""Requests to a provider at the same time."""
TRIES = 3
"""How often a provider may be asked for a choice before its answers count as invalid."""
SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)


class InvalidAnswer(Exception):
    """The model did not answer with one of the options, `TRIES` times in a row."""


class LangchainPolicy:
    """A langchain chat model as a policy; see `policy.Policy`. What it can't do raises Unsupported."""

    tolerance = Tolerance(match=0.0, resolution=0.0, noise=0.0)
    adapter: str | None = None

    def __init__(self, chat: BaseChatModel) -> None:
        self._chat = chat

    @classmethod
    def named(cls, name: str, **options: Any) -> LangchainPolicy:
        """By `provider:model`. Raises UserError when the provider's package or key is missing."""
        return cls(chat_model(name, **options))

    def encode(self, text: str) -> list[int]:
        """Raises Unsupported: the tokens are the provider's."""
        raise Unsupported("a provider's model has no tokenizer here; give it text")

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Raises Unsupported."""
        return self.encode("")

    def sample(
        self, prompts: Sequence[Prompt], n: int, *, max_tokens: int, temperature: float = 1.0, seed: int = 0
    ) -> list[list[Completion]]:
        """`n` answers to each prompt, a text, as one user turn. `tokens` and `logprobs` are empty."""
        asked = [_text(prompt) for prompt in prompts]
        answers = self._ask([text for text in asked for _ in range(n)], max_tokens, temperature, seed)
        made = [Completion((), (), (), answer.text, _finished(answer)) for answer in answers]
        return [made[i * n : (i + 1) * n] for i in range(len(asked))]

    def score(self, pairs: Sequence[Scored]) -> list[tuple[float, ...]]:
        """Raises Unsupported."""
        raise Unsupported(
            "a provider's chat API gives no probability of given tokens; use the torch, jax or vllm sampler"
        )

    def choose(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], *, temperature: float = 1.0, seed: int = 0
    ) -> list[Choice]:
        """Ask for one of the options in words. `logprobs` is empty. Raises InvalidAnswer after some tries."""
        return [
            self._one_of(_text(prompt), list(given), temperature, seed + i)
            for i, (prompt, given) in enumerate(zip(prompts, options, strict=True))
        ]

    def load_adapter(self, adapter: Path | str | None) -> None:
        """Raises Unsupported unless it is None."""
        if adapter is not None:
            raise Unsupported("a provider's model takes no adapter; use the torch, jax or vllm sampler")

    def close(self) -> None:
        """Nothing is held."""

    def _one_of(self, prompt: str, options: list[str], temperature: float, seed: int) -> Choice:
        listed = "\n".join(option.strip() for option in options)
        text = f"{prompt}\n\nAnswer with exactly one of these lines and nothing else:\n{listed}"
        for attempt in range(TRIES):
            [answer] = self._ask([text], 16 + max(map(len, options)), temperature, seed + attempt)
            said = answer.text.strip().strip(".\"'").casefold()
            found = [i for i, option in enumerate(options) if option.strip().casefold() == said]
            if len(found) == 1:
                return Choice(found[0], (), (), (), ())
        raise InvalidAnswer(f"no answer out of {TRIES} was one of the {len(options)} options")

    def _ask(self, texts: list[str], max_tokens: int, temperature: float, seed: int) -> list[BaseMessage]:
        how: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
        seeded = "seed" in type(self._chat).model_fields
        models = [self._chat.bind(**how, **({"seed": seed + i} if seeded else {})) for i in range(len(texts))]
        try:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(AT_ONCE) as threads:
                return list(
                    threads.map(lambda pair: pair[0].invoke([HumanMessage(pair[1])]), zip(models, texts, strict=True))
                )
        except (ValueError, UserError):
            raise
        except Exception as error:  # each provider's package has errors of its own
            raise ServerGone(f"the provider failed: {scrubbed(error)}") from None


def chat_model(name: str, *, url: str | None = None, **options: Any) -> BaseChatModel:
    """A langchain chat model by `provider:model`; `url` is another server that speaks the provider's protocol.

    Raises UserError when the provider's package or key is missing.
    """
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise UserError("models of providers need langchain: pip install 'ratchet-bench[providers]'") from error
    given = [option for option in options if SECRET.search(option) and option != "max_tokens"]
    if given:
        raise UserError(f"{', '.join(given)}: keys are read from the environment only; export the provider's variable")
    if url is not None:
        # OpenAI's protocol lies below /v1 on every server that speaks it; `ratchet serve-model` prints the address alone.
        bare = name.startswith("openai:") and httpx.URL(url).path in ("", "/")
        options["base_url"] = f"{url.rstrip('/')}/v1" if bare else url
        if not any(
            SECRET.search(variable) and os.environ[variable] for variable in os.environ if "API_KEY" in variable
        ):
            options["api_key"] = "none"  # a server of one's own asks for none, and the package insists on one
    try:
        made: BaseChatModel = init_chat_model(name, **options)
    except Exception as error:  # each provider's package has its own way of saying that a key is missing
        raise UserError(f"can't use {name!r}: {scrubbed(error)}") from None
    return made


def _text(prompt: Prompt) -> str:
    if not isinstance(prompt, str):
        raise Unsupported("a provider's model takes text, not token ids")
    if not prompt:
        raise ValueError("a prompt may not be empty")
    return prompt


def _finished(answer: BaseMessage) -> bool:
    told = answer.response_metadata
    return (told.get("finish_reason") or told.get("stop_reason")) not in ("length", "max_tokens")


def scrubbed(error: BaseException) -> str:
    """An error as one line of at most 300 characters, without any secret that stands in this process's environment."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 6:
            text = text.replace(value, "***")
    return text[:300]
