"""The gate without a model: the protocol and the bounds of the real one, and always the same answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.models.gate import MAX_NEW_TOKENS
from agents.models.scripted import SAID, ScriptedGate
from tests.agents.test_gate import choose, guest, told


def test_it_takes_the_first_option_and_says_the_same_each_time() -> None:
    with ScriptedGate().open(token_budget=1000, label="x", weights="a" * 64) as folder:
        talk = guest().Model(str(folder / "model.sock"))
        assert talk.choose(["盗窃?", "b"], [["x", "y"], ["long option", "z"]]) == [0, 0]
        asked = [{"role": "user", "content": "Who did it?"}]
        assert [talk.chat(asked), talk.chat(asked, max_tokens=5)] == [SAID, SAID]


def test_it_counts_and_stops_at_the_budget() -> None:
    with ScriptedGate().open(token_budget=9, label="x") as folder:
        assert told(folder, choose("four")) == {"choices": [0], "tokens": [4, 1]}
        assert told(folder, choose("more of it")) == {"error": "budget"}
        assert told(folder, choose("abc"))["choices"] == [0]
        assert told(folder, choose("a")) == {"error": "budget"}


def test_what_the_real_gate_refuses_it_refuses_in_the_same_words() -> None:
    def chat(**fields: Any) -> bytes:
        return json.dumps({"op": "chat", "messages": [{"role": "user", "content": "a"}], **fields}).encode() + b"\n"

    refused = {
        b"hello\n": "request is not JSON",
        b'{"op": "run"}\n': 'request needs "op": "chat" or "choose"',
        choose("a", options=()): "options must be lists of 1 to 256 texts",
        chat(max_tokens=MAX_NEW_TOKENS + 1): "max_tokens must be 1 to 512",
        chat(messages=[]): "messages must be 1 to 64 objects with role and content",
    }
    with ScriptedGate().open(token_budget=10_000, label="x") as folder:
        assert {line: told(folder, line)["error"] for line in refused} == refused
        assert told(folder, chat())["text"] == SAID


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    with ScriptedGate().open(token_budget=10, label="x") as folder:
        assert (folder / "model.sock").exists()
    assert not folder.exists()
