"""The model gate: a Unix socket through which a sandboxed harness asks the language model, within a token budget.

The other end is hostile. One request is one JSON line, and so is its answer; sizes, counts, connections and waiting
times are bounded, and whatever goes wrong with a request is an answer `{"error": …}`, never an exception here.

    {"op": "chat", "messages": [{"role": "user", "content": "…"}], "max_tokens": 64}  ->  {"text": "…", "tokens": [41, 12]}
    {"op": "choose", "prompts": ["…"], "options": [["A", "B"]]}                       ->  {"choices": [0], "tokens": [35, 1]}
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.models.adapters import check_adapter, find_adapter
from agents.models.chat import SmolChatModel
from agents.models.requests import BadRequest, is_message, is_texts, parsed
from agents.models.torch_local import Cancelled, LocalModel
from agents.trace import Trace
from sandboxes import lease

MAX_REQUEST_BYTES = 1024 * 1024
MAX_REQUESTS = 5000
"""Requests of one candidate; every one of them costs us time, even a malformed one."""
MAX_CONNECTIONS = 8
MAX_NEW_TOKENS = 512
MAX_PROMPTS = 2048
MAX_OPTIONS = 256
PATIENCE_S = 30.0
"""How long a connection may take to send a whole request."""


def _load() -> LocalModel:
    return LocalModel.load(lambda message: None)


class SocketGate:
    """Opens sockets to one model, which is loaded at the first request of all. See `benchmarks.task.ModelGate`.

    Every exchange is traced to the file `trace`; None traces nothing.
    """

    def __init__(self, trace: Path | None, load: Callable[[], LocalModel] = _load) -> None:
        self._load = load
        self._trace = None if trace is None else Trace(trace)
        self._model: LocalModel | None = None
        self._lock = threading.Lock()

    def model(self) -> LocalModel:
        """The model, loaded now if it is not yet. Raises what loading raises."""
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    @contextmanager
    def open(self, *, token_budget: int, label: str, weights: str | None = None) -> Iterator[Path]:
        """Yield the folder that holds `model.sock`; it stops answering when the context ends.

        The model wears the adapter `weights` for this socket's requests and no others. Raises AdapterError.
        """
        if weights is not None:
            # An adapter that is missing or does not fit is the user's to mend, not an answer to the candidate.
            check_adapter(find_adapter(weights), self.model().folder)
        folder = Path(tempfile.mkdtemp(prefix=lease.folder_prefix(), dir=_short_temp()))
        counter = Counter(self.model, token_budget, label, self._trace, weights)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The sandbox's user is another one: it may reach and use the socket, and list or change nothing.
            folder.chmod(0o711)
            listener.bind(str(folder / "model.sock"))
            (folder / "model.sock").chmod(0o666)
            listener.listen(128)
            server = Server(listener, counter)
            thread = threading.Thread(target=server.serve, name=f"gate-{label}", daemon=True)
            thread.start()
            try:
                yield folder
            finally:
                server.stop()
                thread.join(timeout=PATIENCE_S)
        finally:
            listener.close()
            shutil.rmtree(folder, ignore_errors=True)


def _short_temp() -> str:
    """The temporary folder, unless its name is too long for a socket's address (108 bytes)."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) < 70 else "/tmp"


class Counter:
    """Serves the requests of one candidate and counts its tokens."""

    def __init__(
        self, model: Callable[[], LocalModel], budget: int, label: str, trace: Trace | None, weights: str | None = None
    ) -> None:
        self._model, self._label, self._trace, self._weights = model, label, trace, weights
        self._lock = threading.Lock()
        self.left = budget
        self.requests = 0
        self.stopped = threading.Event()

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one request line; never raises."""
        begun = time.monotonic()
        request: Any = None
        try:
            with self._lock:
                self.requests += 1
                if self.requests > MAX_REQUESTS:
                    raise BadRequest("too many requests")
            request = parsed(line)
            answer = self._chat(request) if request["op"] == "chat" else self._choose(request)
        except BadRequest as error:
            answer = {"error": str(error)}
        except Cancelled:
            answer = {"error": "closed"}
        except Exception as error:
            # A fault of the model (memory, a bug) must not end the gate; the trace keeps what it was.
            answer = {"error": f"model failed: {type(error).__name__}"}
            self._record({}, {"fault": str(error)}, begun)
        self._record(request if isinstance(request, dict) else {}, answer, begun)
        return answer

    def _record(self, request: dict[str, Any], answer: dict[str, Any], begun: float) -> None:
        if self._trace is None or self.requests > MAX_REQUESTS:
            return
        seconds = round(time.monotonic() - begun, 3)
        try:
            self._trace.write(
                "model", label=self._label, request=request, answer=answer, seconds=seconds, left=self.left
            )
        except OSError:
            self._trace = None  # a full disk must not change what the candidate is told

    def _spend(self, prompt: int, completion: int) -> None:
        with self._lock:
            if prompt + completion > self.left:
                raise BadRequest("budget")
            self.left -= prompt + completion

    def _chat(self, request: dict[str, Any]) -> dict[str, Any]:
        messages = request.get("messages")
        if not isinstance(messages, list) or not 0 < len(messages) <= 64 or not all(map(is_message, messages)):
            raise BadRequest("messages must be 1 to 64 objects with role and content")
        wanted = request.get("max_tokens", 64)
        if not isinstance(wanted, int) or isinstance(wanted, bool) or not 0 < wanted <= MAX_NEW_TOKENS:
            raise BadRequest(f"max_tokens must be 1 to {MAX_NEW_TOKENS}")
        model = self._model()
        ids = model.encode_chat(messages)
        self._spend(len(ids), wanted)  # all that it may cost is set aside first, so that two requests can't overdraw
        try:
            with model.wearing(self._weights):
                reply = SmolChatModel(model, max_tokens=wanted).invoke(messages)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        spent = reply.usage_metadata or {"input_tokens": len(ids), "output_tokens": wanted}
        with self._lock:
            self.left += wanted - spent["output_tokens"]
        return {"text": reply.text, "tokens": [spent["input_tokens"], spent["output_tokens"]]}

    def _choose(self, request: dict[str, Any]) -> dict[str, Any]:
        prompts, options = request.get("prompts"), request.get("options")
        if not isinstance(prompts, list) or not is_texts(prompts, MAX_PROMPTS):
            raise BadRequest(f"prompts must be 1 to {MAX_PROMPTS} texts")
        if not isinstance(options, list) or not all(is_texts(given, MAX_OPTIONS) for given in options):
            raise BadRequest(f"options must be lists of 1 to {MAX_OPTIONS} texts")
        if len(options) != len(prompts):
            raise BadRequest("prompts and options must have the same length")
        model = self._model()
        asked = [model.encode(prompt) for prompt in prompts]
        given = [[model.encode(option) for option in texts] for texts in options]
        # What is run is what is paid: options of one token are read off one pass, longer ones take a pass each.
        passes = [1 if all(len(o) == 1 for o in texts) else len(texts) for texts in given]
        read = sum(len(prompt) * times for prompt, times in zip(asked, passes, strict=True))
        written = sum(1 if n == 1 else sum(map(len, texts)) for n, texts in zip(passes, given, strict=True))
        self._spend(read, written)
        try:
            with model.wearing(self._weights):
                choices = model.choose_encoded(asked, given, self.stopped.is_set)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        return {"choices": choices, "tokens": [read, written]}


class Server:
    """Accepts connections until stopped, and gives each a thread."""

    def __init__(self, listener: socket.socket, counter: Counter) -> None:
        self._listener, self._counter = listener, counter
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Accept until the listener is closed."""
        while not self._counter.stopped.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                _send(peer, {"error": "too many connections"})
                peer.close()
                continue
            with self._lock:
                self._open.add(peer)
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def stop(self) -> None:
        """Stop accepting, and cut every connection."""
        self._counter.stopped.set()
        with self._lock:
            for peer in self._open:
                _shut(peer)
        _shut(self._listener)

    def _talk(self, peer: socket.socket) -> None:
        try:
            peer.settimeout(PATIENCE_S)
            while not self._counter.stopped.is_set():
                line, fault = _read_line(peer)
                if fault:
                    _send(peer, {"error": fault})
                if line is None or not _send(peer, self._counter.answer(line)):
                    return
        finally:
            with self._lock:
                self._open.discard(peer)
            peer.close()
            self._places.release()


def _read_line(peer: socket.socket) -> tuple[bytes | None, str]:
    """One line without its end; None at the end of the stream or, with the reason, when it is too long or too slow."""
    got, deadline = bytearray(), time.monotonic() + PATIENCE_S
    while not got.endswith(b"\n"):
        try:
            part = peer.recv(65536)
        except OSError:
            return None, ""
        if not part:
            return None, "request is not a whole line" if got else ""
        got += part
        if len(got) > MAX_REQUEST_BYTES:
            return None, f"request is larger than {MAX_REQUEST_BYTES} bytes"
        if time.monotonic() > deadline:
            return None, "request took too long"
    return bytes(got[:-1]), ""


def _send(peer: socket.socket, answer: dict[str, Any]) -> bool:
    """False when the other end is gone or does not read."""
    try:
        peer.sendall(json.dumps(answer).encode() + b"\n")
    except OSError:
        return False
    return True


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
