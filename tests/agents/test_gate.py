"""The gate in front of the model: it counts, it bounds, and no request can break it."""

from __future__ import annotations

import importlib.util
import json
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import sandboxes as sandboxes_package
from agents.models import gate as gates
from agents.models.adapters import Adapter, AdapterError, BrokenAdapter
from agents.models.gate import MAX_CONNECTIONS, MAX_REQUEST_BYTES, SocketGate
from agents.models.torch_local import LocalModel
from agents.trace import read_trace
from benchmarks.evaluator import Evaluator
from benchmarks.registry import task as find_task
from benchmarks.task import Split
from sandboxes.base import SandboxFactory

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return LocalModel.load(print)


@pytest.fixture
def gate(tmp_path: Path, model: LocalModel) -> SocketGate:
    return SocketGate(tmp_path / "trace" / "model.jsonl", load=lambda: model)


def guest() -> ModuleType:
    """The client as it is inside the sandbox: a plain file, not part of our packages."""
    path = Path(str(sandboxes_package.__file__)).parent / "guest" / "model.py"
    spec = importlib.util.spec_from_file_location("guest_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dial(folder: Path) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(20)
    link.connect(str(folder / "model.sock"))
    return link


def told(folder: Path, data: bytes) -> dict[str, Any]:
    with dial(folder) as link:
        try:
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it hung up on us already; what it said is still there to read
        try:
            answer = link.makefile("rb").readline()
        except ConnectionResetError:
            answer = b""
        return dict(json.loads(answer or b'{"error": "hung up"}'))


def choose(*prompts: str, options: Sequence[str] = ("A", "B")) -> bytes:
    return json.dumps({"op": "choose", "prompts": prompts, "options": [options] * len(prompts)}).encode() + b"\n"


def test_socket_is_usable_and_its_folder_is_not_listed_by_others(gate: SocketGate) -> None:
    with gate.open(token_budget=10, label="x") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o711
        assert stat.S_IMODE((folder / "model.sock").stat().st_mode) == 0o666
    assert not folder.exists()


def test_budget_covers_prompts_and_answers(gate: SocketGate, model: LocalModel) -> None:
    short, long = "one two three", "one two three four"
    cost, more = len(model.encode(short)) + 1, len(model.encode(long)) + 1
    assert cost < more < 2 * cost
    with gate.open(token_budget=2 * cost, label="x") as folder:
        assert told(folder, choose(short))["tokens"] == [cost - 1, 1]
        assert told(folder, choose(long)) == {"error": "budget"}
        assert "choices" in told(folder, choose(short))
        assert told(folder, choose("a")) == {"error": "budget"}


def test_long_options_cost_a_pass_each(gate: SocketGate, model: LocalModel) -> None:
    prompt, options = "The sky is", (" very blue indeed", " green")
    with gate.open(token_budget=1000, label="x") as folder:
        spent = told(folder, choose(prompt, options=options))["tokens"]
    assert spent == [2 * len(model.encode(prompt)), sum(len(model.encode(o)) for o in options)]


def test_unused_part_of_a_chat_is_given_back(gate: SocketGate, model: LocalModel) -> None:
    client = guest()
    asked = [{"role": "user", "content": "Say only: yes"}]
    prompt, most = len(model.encode_chat(asked)), 200
    with gate.open(token_budget=3 * prompt + most, label="x") as folder:
        talk = client.Model(str(folder / "model.sock"))
        # Each sets 200 aside and uses a few; without the rest given back the second would already be refused.
        for _ in range(2):
            assert talk.chat(asked, max_tokens=most - prompt)
        with pytest.raises(client.BudgetSpent):
            talk.chat(asked, max_tokens=500)


@pytest.mark.parametrize(
    "line",
    [
        b"\n", b"hello\n", b"[]\n", b"null\n", b"{}\n", b'{"op": "run"}\n', b'{"op": "choose"}\n', b"\xff\xfe\n",
        b'{"op": "choose", "prompts": [1], "options": [["A"]]}\n',
        b'{"op": "choose", "prompts": ["a"], "options": [[]]}\n',
        b'{"op": "choose", "prompts": ["a"], "options": []}\n',
        b'{"op": "choose", "prompts": ["\\ud800"], "options": [["A"]]}\n',
        b'{"op": "chat", "messages": "hi"}\n',
        b'{"op": "chat", "messages": [{"role": "root", "content": "hi"}]}\n',
        b'{"op": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": -5}\n',
        b'{"op": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1e9}\n',
        b'{"op": ["chat"]}\n',
        b"[" * 100_000 + b"\n",
        b'{"op": "chat"',
        b"x" * (MAX_REQUEST_BYTES + 100),
    ],
    ids=lambda line: line[:24].decode("latin-1").strip() or "empty",
)  # fmt: skip
def test_bad_requests_are_answered_and_the_next_is_served(gate: SocketGate, line: bytes) -> None:
    with gate.open(token_budget=100, label="x") as folder:
        assert "error" in told(folder, line)
        assert "choices" in told(folder, choose("abc"))


def test_a_hundred_connections_are_bounded_and_do_no_harm(gate: SocketGate) -> None:
    with gate.open(token_budget=100, label="x") as folder:
        held = [dial(folder) for _ in range(100)]
        refused = [link for link in held[MAX_CONNECTIONS:] if b"too many" in link.recv(200)]
        assert len(refused) == 100 - MAX_CONNECTIONS
        held[0].sendall(choose("abc"))
        assert b"choices" in held[0].recv(200)
        for link in held:
            link.close()


def test_requests_are_counted_even_when_they_are_bad(gate: SocketGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "MAX_REQUESTS", 3)
    with gate.open(token_budget=100, label="x") as folder, dial(folder) as link:
        stream = link.makefile("rwb")
        answers = []
        for _ in range(4):
            stream.write(b"{}\n")
            stream.flush()
            answers.append(json.loads(stream.readline())["error"])
    assert answers[3] == "too many requests"


def test_end_of_the_context_cuts_open_connections(gate: SocketGate) -> None:
    with gate.open(token_budget=100, label="x") as folder:
        link = dial(folder)
        link.sendall(choose("abc"))
        assert link.recv(200)
    assert link.recv(200) == b""
    link.close()


def test_exchanges_are_traced(gate: SocketGate, model: LocalModel, tmp_path: Path) -> None:
    with gate.open(token_budget=100, label="abc") as folder:
        told(folder, choose("a case of theft"))
    [event] = read_trace(tmp_path / "trace" / "model.jsonl")
    assert (event["kind"], event["label"], event["left"]) == ("model", "abc", 99 - len(model.encode("a case of theft")))


def test_a_model_that_breaks_is_an_answer(tmp_path: Path) -> None:
    def broken() -> LocalModel:
        raise MemoryError("no room")

    gate = SocketGate(tmp_path / "trace.jsonl", load=broken)
    with gate.open(token_budget=100, label="x") as folder:
        assert told(folder, choose("abc")) == {"error": "model failed: MemoryError"}


def test_answers_are_the_models_own(tmp_path: Path) -> None:
    gate = SocketGate(tmp_path / "trace.jsonl")
    with gate.open(token_budget=300, label="x") as folder:
        model = guest().Model(str(folder / "model.sock"))
        asked = ["The capital of France is", "The opposite of cold is"]
        assert model.choose(asked, [[" Rome", " Paris"], [" hot", " table"]]) == [1, 0]
        said = model.chat([{"role": "user", "content": "What is the capital of France?"}], max_tokens=16)
        assert "Paris" in said


def test_two_candidates_wear_their_own_weights_at_the_same_time(
    tmp_path: Path, exact: LocalModel, make: Callable[..., Adapter]
) -> None:
    """Each socket's answers are those of its own adapter, and the base model answers afterwards as it did before."""
    gate = SocketGate(tmp_path / "trace.jsonl", load=lambda: exact)
    exact.wear(None)
    alone = []
    asked = [{"role": "user", "content": "Tell me something about the sea."}]
    line = json.dumps({"op": "chat", "messages": asked, "max_tokens": 6}).encode() + b"\n"
    wanted = [None, make(1, size=0.3).sha, make(2, size=0.3).sha]
    for weights in wanted:
        exact.wear(weights)
        alone.append(exact.chat_encoded([exact.encode_chat(asked)], 6)[0].text)
    assert len(set(alone)) == 3
    exact.wear(None)
    with ExitStack() as stack:
        folders = [stack.enter_context(gate.open(token_budget=500, label="x", weights=w)) for w in wanted]
        for folder, expected in [*zip(folders, alone, strict=True), (folders[0], alone[0])]:
            assert told(folder, line)["text"] == expected


def test_weights_that_are_not_there_or_do_not_fit_are_the_users_to_mend(
    tmp_path: Path, exact: LocalModel, make: Callable[..., Adapter]
) -> None:
    gate = SocketGate(tmp_path / "trace.jsonl", load=lambda: exact)
    with pytest.raises(BrokenAdapter, match="no adapter aaaa"), gate.open(token_budget=9, label="x", weights="a" * 64):
        pass
    good = make(1)
    (good.path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(AdapterError), gate.open(token_budget=9, label="x", weights=good.sha):
        pass


@pytest.mark.sandbox
def test_a_candidates_weights_come_through_the_evaluator(
    tmp_path: Path, exact: LocalModel, sandboxes: SandboxFactory, shelf: Path
) -> None:
    """Task, evaluator process and controller pass the hash on: the gate misses the adapter that it names."""
    candidate = find_task("lawbench").seed().model_copy(update={"weights": "a" * 64})
    gate = SocketGate(tmp_path / "trace.jsonl", load=lambda: exact)
    with Evaluator(sandboxes.name, model=gate) as evaluator, pytest.raises(BrokenAdapter, match="no adapter aaaa"):
        evaluator.evaluate("lawbench", [candidate], Split.SEARCH, quick=True)
