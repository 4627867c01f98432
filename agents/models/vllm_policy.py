"""The vLLM sampler: an OpenAI-compatible server that runs elsewhere, started by `ratchet serve-model` or pointed at.

Adapters reach the server by its LoRA endpoints, and three traps of other projects are kept out (see `load_adapter`): each
generation gets a new folder, a new name and so a new integer id, never a reload in place, because the server's prefix cache
and its own bookkeeping go by those; the old one is unloaded and the prefix cache reset; and whatever vLLM would ignore or
refuse in an adapter is refused before it is sent.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx

from agents.models.adapters import CONFIG, WEIGHTS, Adapter, check_adapter, find_adapter
from agents.models.choice import choose_by_score
from agents.models.policy import Choice, Completion, Message, Prompt, Scored, ServerGone, Tolerance, check_request
from agents.models.smollm2 import transformers_loaders
from sandboxes import lease
from sandboxes.base import UserError

T = TypeVar("T")
TIMEOUT_S = 300.0
CONNECTIONS = 32
TOLERANCE = {
    "float32": Tolerance(match=2e-3, resolution=3e-5, noise=2e-5),
    "bfloat16": Tolerance(match=0.5, resolution=0.05, noise=0.05),
}
"""Measured on two cores against torch in float32, nats a token: float32 at most 2.4e-5, and 0 between two calls."""


class VllmPolicy:
    """A vLLM server as a policy; see `policy.Policy`. `model` is the folder that the server was started with."""

    def __init__(
        self, url: str, model: Path, *, dtype: str = "float32", max_rank: int = 16, served: str | None = None
    ) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False,
                                  limits=httpx.Limits(max_connections=CONNECTIONS))  # fmt: skip
        self._url, self._model, self._max_rank = url, model, max_rank
        self.tolerance = TOLERANCE[dtype]
        card = self._cards()[0]
        self._tokenizer: Any = transformers_loaders()[1].from_pretrained(model, local_files_only=True)
        self._end = int(self._tokenizer.eos_token_id)
        self._generation = itertools.count(1)
        self._worn: tuple[str, Adapter] | None = None
        self._base = served or str(card["id"])
        self._limit = int(card.get("max_model_len") or 2048)
        self._check_tokenizer()

    @property
    def adapter(self) -> str | None:
        """Content hash of the adapter that requests ask for; None is the base model."""
        return self._worn[1].sha if self._worn else None

    @property
    def name(self) -> str:
        """What the server calls the model that requests ask for."""
        return self._worn[0] if self._worn else self._base

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation, up to the point where the assistant speaks."""
        return self.encode(
            self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        )

    def close(self) -> None:
        """Take the adapter off the server and close the connections. The server itself is not ours to end."""
        try:
            self.load_adapter(None)
        except (ServerGone, UserError):
            pass  # a server that is gone wears nothing
        finally:
            self._http.close()

    def sample(
        self, prompts: Sequence[Prompt], n: int, *, max_tokens: int, temperature: float = 1.0, seed: int = 0
    ) -> list[list[Completion]]:
        """`n` continuations of each prompt; see `Policy.sample`. The server makes a seed for each sample out of ours."""
        asked = [self._ids(prompt) for prompt in prompts]
        check_request(asked, n, max_tokens, temperature, self._limit)

        def one(index: int) -> list[Completion]:
            answer = self._complete(
                asked[index], n=n, max_tokens=max_tokens, temperature=temperature, seed=_seed(seed, index),
                logprobs=0, return_token_ids=True,
            )  # fmt: skip
            return [self._completion(asked[index], choice) for choice in answer["choices"]]

        return self._each(one, len(asked))

    def score(self, pairs: Sequence[Scored]) -> list[tuple[float, ...]]:
        """Log-probability of each given token; see `Policy.score`."""
        asked = [(self._ids(prompt), list(tokens)) for prompt, tokens in pairs]
        for prompt, tokens in asked:
            check_request([prompt], 1, len(tokens) + 1, 1.0, self._limit)

        def one(index: int) -> tuple[float, ...]:
            prompt, tokens = asked[index]
            if not tokens:
                return ()
            answer = self._complete(prompt + tokens, max_tokens=1, temperature=1.0, prompt_logprobs=0)
            told = answer["choices"][0]["prompt_logprobs"][len(prompt) :]
            return tuple(float(at[str(token)]["logprob"]) for at, token in zip(told, tokens, strict=True))

        return self._each(one, len(asked))

    def choose(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], *, temperature: float = 1.0, seed: int = 0
    ) -> list[Choice]:
        """One option for each prompt; see `Policy.choose`."""
        return choose_by_score(
            self.score, self.encode, self._end, prompts, options, temperature=temperature, seed=seed
        )  # fmt: skip

    def load_adapter(self, adapter: Path | str | None) -> None:
        """Wear another adapter, or none; see `Policy.load_adapter`.

        Raises AdapterError before anything is sent, and SyncError when the server says one thing and lists another.
        """
        from agents.models.sync import SyncError

        found = None if adapter is None else find_adapter(adapter)
        if found is not None:
            check_adapter(found, self._model, self._max_rank)
        old, new = self._worn, None
        if found is not None:
            # pid and hash keep names apart on a server that several runs share, one after another.
            name = f"ratchet-{os.getpid()}-{next(self._generation)}-{found.sha[:12]}"
            folder = _own_copy(found, name)
            try:
                self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
                if name not in self.listed():
                    raise SyncError(f"the server at {self._url} said that it loaded {name}, and does not list it")
            finally:
                shutil.rmtree(folder, ignore_errors=True)  # the server has read it, or refused it
            new = (name, found)
        self._worn = new
        if old is not None:
            self._post("/v1/unload_lora_adapter", {"lora_name": old[0]})
            if old[0] in self.listed():
                raise SyncError(f"the server at {self._url} still lists the old adapter {old[0]}")
        if old is not None or new is not None:
            # A server that was not started by us may lack this endpoint. `cache_salt` keeps the generations apart there too.
            self._post("/reset_prefix_cache", {}, absent_is_fine=True)

    # -- talking to the server ---------------------------------------------------------------------------------------

    def _complete(self, prompt: list[int], **how: Any) -> dict[str, Any]:
        body = {"model": self.name, "prompt": prompt, "cache_salt": self.name, "top_p": 1.0, "top_k": 0, **how}
        return self._post("/v1/completions", body)

    def _completion(self, prompt: list[int], choice: dict[str, Any]) -> Completion:
        tokens, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        if len(tokens) != len(logprobs):
            raise ServerGone(
                f"the server at {self._url} sent {len(tokens)} tokens with {len(logprobs)} log-probabilities"
            )
        finished = choice["finish_reason"] == "stop"
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Completion(tuple(prompt), tuple(tokens), tuple(map(float, logprobs)), text, finished)

    def _each(self, one: Callable[[int], T], count: int) -> list[T]:
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            return list(threads.map(one, range(count)))

    def _ids(self, prompt: Prompt) -> list[int]:
        return self.encode(prompt) if isinstance(prompt, str) else list(prompt)

    def listed(self) -> set[str]:
        """The models and adapters that the server has, by name."""
        return {str(card["id"]) for card in self._cards()}

    def _cards(self) -> list[dict[str, Any]]:
        cards = self._ask("GET", "/v1/models").json().get("data")
        if not cards:
            raise UserError(f"{self._url} lists no model; point at an OpenAI-compatible vLLM server")
        return list(cards)

    def _check_tokenizer(self) -> None:
        """The server must encode as we do: token ids mean nothing otherwise."""
        text = "Naïve 刑法 def f(x): return x**2\n"
        told = self._post("/tokenize", {"model": self._base, "prompt": text, "add_special_tokens": False})["tokens"]
        if told != self.encode(text):
            raise UserError(
                f"the server at {self._url} has another tokenizer than {self._model.name}; serve that model"
            )

    def _post(self, path: str, body: dict[str, Any], *, absent_is_fine: bool = False) -> dict[str, Any]:
        answer = self._ask("POST", path, body)
        if answer.status_code == 404 and absent_is_fine:
            return {}
        if answer.status_code == 404 and "lora" in path and "message" not in answer.text:
            raise UserError(f"{self._url} takes no adapters: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True")
        if answer.status_code != 200:
            raise UserError(f"{self._url}{path} refused the request ({answer.status_code}): {answer.text[:300]}")
        return (
            dict(answer.json()) if answer.text.startswith("{") else {}
        )  # the adapter endpoints answer with a sentence

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServerGone(
                f"the model's server at {self._url} is gone ({type(error).__name__}); start it again with `ratchet serve-model`"
            ) from error
        if answer.status_code >= 500 and "adapter" not in path:
            raise ServerGone(f"the model's server at {self._url} failed ({answer.status_code}): {answer.text[:300]}")
        return answer


def _seed(seed: int, index: int) -> int:
    """A seed for a prompt; the server adds the sample's number to it, so neighbours must lie far apart."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:6])


def _own_copy(adapter: Adapter, name: str) -> Path:
    """A folder of its own for one generation: the server must never see other weights under a path that it knows."""
    folder = Path(tempfile.mkdtemp(prefix=f"{lease.folder_prefix()}{name}-"))
    for file in (CONFIG, WEIGHTS):
        shutil.copyfile(adapter.path / file, folder / file)
    return folder
