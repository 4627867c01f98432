"""A model gate without a model: the same socket, bounds and requests as `gate.py`, and answers that are always the same.

For staging: a new harness shows with it that it can talk to a model, without the price of one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agents.models.gate import SocketGate
from agents.models.policy import Message
from agents.models.torch_local import Cancelled, LocalModel, Reply

SAID = "A"
"""What it answers to whatever it is told. Where a harness asks for a letter, that is one."""


class ScriptedModel(LocalModel):
    """Takes the first option, says SAID, and counts a byte as a token: no tokenizer of ours makes more of a text."""

    def __init__(self) -> None:
        self.adapter = None
        self._lock = threading.RLock()

    def encode(self, text: str) -> list[int]:
        """The bytes of the text."""
        return list(text.encode())

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """The bytes of all that was said."""
        return self.encode("\n".join(message["content"] for message in messages))

    def choose_encoded(
        self,
        prompts: Sequence[list[int]],
        options: Sequence[Sequence[list[int]]],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[int]:
        """The first option of each prompt. Raises Cancelled."""
        if cancelled():
            raise Cancelled
        return [0 for _ in prompts]

    def chat_encoded(
        self, conversations: Sequence[list[int]], max_tokens: int, *, temperature: float = 0.0, seed: int = 0
    ) -> list[Reply]:
        """SAID, to each conversation."""
        return [Reply(SAID, len(conversation), len(SAID)) for conversation in conversations]


class ScriptedGate(SocketGate):
    """Opens sockets to a `ScriptedModel`. Nothing is loaded and nothing traced. See `benchmarks.task.ModelGate`."""

    def __init__(self) -> None:
        super().__init__(None, load=ScriptedModel)

    @contextmanager
    def open(self, *, token_budget: int, label: str, weights: str | None = None) -> Iterator[Path]:
        """See `SocketGate.open`. Any weights will do: it wears none."""
        with super().open(token_budget=token_budget, label=label) as folder:
            yield folder
