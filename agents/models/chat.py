"""The local model behind langchain's chat interface, so that an agent may hold any provider's model instead."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from agents.models.policy import Message
from agents.models.torch_local import LocalModel

ROLES = {"human": "user", "ai": "assistant", "system": "system"}


class SmolChatModel(BaseChatModel):
    """SmolLM2-135M-Instruct as a langchain chat model. `usage_metadata` counts tokens as the model itself does."""

    max_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    _model: LocalModel = PrivateAttr()

    def __init__(self, model: LocalModel, **fields: Any) -> None:
        super().__init__(**fields)
        self._model = model

    @property
    def _llm_type(self) -> str:
        return "smollm2-135m-instruct"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        """One answer. Raises ValueError for a conversation longer than the model takes, or a message of another kind."""
        ids = self._model.encode_chat([_plain(message) for message in messages])
        limit = int(kwargs.get("max_tokens", self.max_tokens))
        heat, seed = float(kwargs.get("temperature", self.temperature)), int(kwargs.get("seed", self.seed))
        [reply] = self._model.chat_encoded([ids], limit, temperature=heat, seed=seed)
        text = reply.text
        for end in stop or []:
            text = text.split(end, 1)[0]
        usage = UsageMetadata(
            input_tokens=reply.prompt_tokens,
            output_tokens=reply.completion_tokens,
            total_tokens=reply.prompt_tokens + reply.completion_tokens,
        )
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text, usage_metadata=usage))])

    def choose(self, prompts: list[str], options: list[list[str]]) -> list[int]:
        """For each prompt, the index of the most probable option; see `LocalModel.choose`."""
        return self._model.choose(prompts, options)


def _plain(message: BaseMessage) -> Message:
    if message.type not in ROLES or not isinstance(message.content, str):
        raise ValueError(f"this model takes text messages of {', '.join(ROLES)}, not {message.type}")
    return {"role": ROLES[message.type], "content": message.content}
