"""Any provider through langchain: what it can do works on a real model, and no key ever shows."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from agents.models.chat import SmolChatModel
from agents.models.langchain_policy import InvalidAnswer, LangchainPolicy, chat_model, scrubbed
from agents.models.policy import ServerGone, Unsupported
from agents.models.torch_local import LocalModel
from sandboxes.base import UserError

SECRET = "sk-not-a-real-key-0123456789"


@pytest.mark.model
def test_a_langchain_model_samples(exact: LocalModel) -> None:
    exact.wear(None)
    policy = LangchainPolicy(SmolChatModel(exact))
    [[first, second]] = policy.sample(["What is the capital of France?"], 2, max_tokens=8, temperature=0.0)
    assert "Paris" in first.text
    assert (first.text, first.tokens, first.logprobs) == (second.text, (), ())


@pytest.mark.model
def test_a_choice_is_asked_for_in_words(exact: LocalModel) -> None:
    policy = LangchainPolicy(SmolChatModel(exact))
    [choice] = policy.choose(["What is the capital of France?"], [["Paris", "London"]], temperature=0.0)
    assert (choice.index, choice.logprobs) == (0, ())


@pytest.mark.model
def test_an_answer_that_is_no_option_is_not_taken_for_one(exact: LocalModel) -> None:
    policy = LangchainPolicy(SmolChatModel(exact))
    with pytest.raises(InvalidAnswer, match="one of the 2 options"):
        policy.choose(["Tell me a story about a fox."], [["qx7/zz", "vv#9/k"]], temperature=0.0)


@pytest.mark.model
def test_what_a_provider_does_not_give_is_said(exact: LocalModel) -> None:
    policy = LangchainPolicy(SmolChatModel(exact))
    with pytest.raises(Unsupported, match="no probability"):
        policy.score([("a", (1,))])
    with pytest.raises(Unsupported, match="takes no adapter"):
        policy.load_adapter("a" * 64)
    with pytest.raises(Unsupported, match="text"):
        policy.sample([(1, 2)], 1, max_tokens=1)
    policy.load_adapter(None)


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        LangchainPolicy.named("openai:some-model")


def test_a_missing_package_and_an_unknown_provider_are_named() -> None:
    with pytest.raises(UserError, match="langchain-cohere"):
        LangchainPolicy.named("cohere:command")
    with pytest.raises(UserError, match="nobody"):
        LangchainPolicy.named("nobody:model")


def test_keys_are_no_arguments() -> None:
    with pytest.raises(UserError, match="environment only") as caught:
        LangchainPolicy.named("openai:some-model", api_key=SECRET)
    assert SECRET not in str(caught.value)


def test_a_provider_that_is_gone_is_said_and_the_key_stays_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real connection to a port where nobody listens."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    policy = LangchainPolicy.named("openai:some-model", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
    with pytest.raises(ServerGone) as caught:
        policy.sample(["hello"], 1, max_tokens=4)
    assert SECRET not in str(caught.value) + repr(vars(policy))
    assert caught.value.__cause__ is None


def test_a_key_that_a_provider_repeats_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert scrubbed(ValueError(f"401: {SECRET} is not\na key")) == "ValueError: 401: *** is not a key"


@pytest.mark.parametrize(
    ("given", "asked"),
    [("http://127.0.0.1:9", "http://127.0.0.1:9/v1"), ("http://127.0.0.1:9/", "http://127.0.0.1:9/v1"),
     ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"), ("http://127.0.0.1:9/own/v2", "http://127.0.0.1:9/own/v2")],
)  # fmt: skip
def test_the_address_that_serve_model_prints_is_enough(given: str, asked: str) -> None:
    made: Any = chat_model("openai:base", url=given)
    assert str(made.openai_api_base) == asked
