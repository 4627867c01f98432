"""The real model: choosing does not depend on batching, and langchain sees text and token counts."""

from __future__ import annotations

import pytest
import torch
from langchain_core.messages import HumanMessage, SystemMessage

from agents.models.chat import SmolChatModel
from agents.models.smollm2 import model_folder
from agents.models.torch_local import MAX_PROMPT_TOKENS, Cancelled, LocalModel

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return LocalModel(model_folder(print), dtype=torch.float32)


def test_choice_is_the_most_probable_continuation_by_hand(model: LocalModel) -> None:
    prompt, options = "The opposite of hot is", [" cold", " very warm"]
    logprobs = []
    for option in options:
        start, end = model.encode(prompt), model.encode(option)
        with torch.inference_mode():
            logits = model.network(torch.tensor([start + end])).logits[0].log_softmax(-1)
        logprobs.append(sum(float(logits[len(start) + i - 1, token]) for i, token in enumerate(end)))
    assert model.choose([prompt], [options]) == [logprobs.index(max(logprobs))]


def test_batching_and_padding_change_no_choice(model: LocalModel) -> None:
    prompts = ["The sky is", "Grass, as every child that ever played in a garden knows, is", "Snow is"] * 5
    options = [[" blue", " green", " white"]] * len(prompts)
    together = model.choose(prompts, options)
    assert together == [model.choose([p], [o])[0] for p, o in zip(prompts, options, strict=True)]
    assert together[:3] == [0, 1, 2]


def test_greedy_answers_do_not_depend_on_the_batch(model: LocalModel) -> None:
    asked = [
        [{"role": "user", "content": text}] for text in ("Name a colour.", "What is the capital of France? Be brief.")
    ]
    ids = [model.encode_chat(messages) for messages in asked]
    alone = [model.chat_encoded([one], 8)[0].text for one in ids]
    assert [reply.text for reply in model.chat_encoded(ids, 8)] == alone


@pytest.mark.parametrize("prompt", ["", "word " * (MAX_PROMPT_TOKENS + 1)])
def test_prompts_have_a_length(model: LocalModel, prompt: str) -> None:
    with pytest.raises(ValueError, match="a prompt has"):
        model.choose([prompt], [[" a"]])


def test_a_cancelled_choice_stops_before_the_next_pass(model: LocalModel) -> None:
    with pytest.raises(Cancelled):
        model.choose_encoded([[1, 2, 3]], [[[4], [5]]], cancelled=lambda: True)


def test_langchain_sees_the_answer_and_its_cost(model: LocalModel) -> None:
    chat = SmolChatModel(model, max_tokens=12)
    answer = chat.invoke([SystemMessage("Answer in one word."), HumanMessage("What is the capital of France?")])
    assert "Paris" in str(answer.content)
    assert answer.usage_metadata is not None
    assert (
        answer.usage_metadata["total_tokens"]
        == answer.usage_metadata["input_tokens"] + answer.usage_metadata["output_tokens"]
    )
