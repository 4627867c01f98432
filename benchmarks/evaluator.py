"""The evaluator's process: the only one that holds answers, seeds and clock, apart from the loop and from the sandboxes.

The controller starts it, sends requests and gets scores, as JSON lines over its stdin and stdout. It ends, and closes
its sandboxes, when the controller's end of the pipe closes, however the controller died. The model stays with the
controller: the evaluator asks for a socket and gets the path of its folder.

    controller → {"task", "split", "quick", "candidates"}        {"folder": path} in answer to "model"
    evaluator  → {"event": "progress" | "commit" | "model" | "model-end" | "scores" | "error", ...}
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import IO, Any, Self

from benchmarks.evaluate import evaluate
from benchmarks.registry import task as find
from benchmarks.task import Bench, Candidate, ModelGate, Score, Split
from sandboxes.backends import choose_backend
from sandboxes.base import SandboxError, SandboxFactory, UserError
from sandboxes.session import pooled

Say = Callable[[str], None]


def _quiet(message: str) -> None:
    return None


class Evaluator:
    """The controller's handle on an evaluator process. Use it as a context manager.

    `ahead` is how many sandboxes it starts before they are asked for: 2 is right for a run of many candidates.
    """

    def __init__(
        self,
        backend: str = "auto",
        *,
        runtime: str | None = None,
        model: ModelGate | None = None,
        progress: Say = _quiet,
        ahead: int = 0,
    ) -> None:
        self._backend, self._runtime, self._model, self._progress = backend, runtime, model, progress
        self._ahead = ahead
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        line = [sys.executable, "-m", "benchmarks.evaluator", self._backend, self._runtime or "", str(self._ahead)]
        # A session of its own: Ctrl-C goes to the controller, and reaches the evaluator as the end of its stdin.
        self._process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            cwd=Path(__file__).resolve().parent.parent,
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def evaluate(
        self, task: str, candidates: Sequence[Candidate], split: Split, *, quick: bool = False, on_commit: Say = _quiet
    ) -> list[Score]:
        """Score candidates on one split under one fresh secret seed. Raises UserError and SandboxError."""
        self._send({
            "task": task, "split": split.value, "quick": quick, "candidates": [c.model_dump() for c in candidates],
        })  # fmt: skip
        with ExitStack() as sockets:
            while True:
                message = self._receive()
                match message["event"]:
                    case "progress":
                        self._progress(message["text"])
                    case "commit":
                        on_commit(message["commitment"])
                    case "model":
                        sockets.close()
                        self._send({"folder": self._open_model(sockets, message)})
                    case "model-end":
                        sockets.close()
                    case "scores":
                        return [Score.model_validate(s) for s in message["scores"]]
                    case "error":
                        raise (UserError if message["kind"] == "user" else SandboxError)(message["text"])

    def _open_model(self, sockets: ExitStack, message: dict[str, Any]) -> str:
        if self._model is None:
            raise UserError("this task needs a language model, and none was given")
        gate = self._model.open(token_budget=message["budget"], label=message["label"], weights=message["weights"])
        return str(sockets.enter_context(gate))

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise SandboxError("the evaluator is not running")
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise SandboxError("the evaluator ended") from error

    def _receive(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SandboxError(f"the evaluator ended with code {self._process.wait()}")
        message: dict[str, Any] = json.loads(line)
        return message


# -- the process itself --------------------------------------------------------------------------------------------


class _RemoteModel:
    """The evaluator's side of the model: it asks the controller for a socket."""

    def __init__(self, send: Callable[..., None], inbox: Queue[dict[str, Any]]) -> None:
        self._send, self._inbox = send, inbox

    @contextmanager
    def open(self, *, token_budget: int, label: str, weights: str | None = None) -> Iterator[Path]:
        """See `ModelGate.open`."""
        self._send("model", budget=token_budget, label=label, weights=weights)
        yield Path(self._inbox.get()["folder"])
        self._send("model-end")


def _listen(source: IO[str], inbox: Queue[dict[str, Any]]) -> None:
    """Read orders; at the end of the stream interrupt the main thread, which closes its sandboxes on the way out."""
    for line in source:
        inbox.put(json.loads(line))
    timer = threading.Timer(20, os._exit, [1])
    timer.daemon = True
    timer.start()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def serve(backend: str, runtime: str | None, ahead: int) -> None:
    """Answer requests until stdin ends; sandboxes that wait in the pool are closed then."""
    with ExitStack() as stack:
        _serve(lambda: stack.enter_context(pooled(choose_backend(backend, runtime=runtime), ahead=ahead)))


def _serve(backend: Callable[[], SandboxFactory]) -> None:
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Whatever a library prints must not end up among the messages.

    def send(event: str, **fields: Any) -> None:
        channel.write(json.dumps({"event": event, **fields}) + "\n")

    inbox: Queue[dict[str, Any]] = Queue()
    threading.Thread(target=_listen, args=(sys.stdin, inbox), daemon=True).start()
    factory: SandboxFactory | None = None
    while True:
        order = inbox.get()
        try:
            factory = factory or backend()
            bench = Bench(factory, _RemoteModel(send, inbox), lambda text: send("progress", text=text), order["quick"])
            scores = evaluate(
                find(order["task"]), [Candidate.model_validate(c) for c in order["candidates"]], Split(order["split"]),
                bench, lambda committed: send("commit", commitment=committed),
            )  # fmt: skip
            send("scores", scores=[s.model_dump(mode="json") for s in scores])
        except UserError as error:
            send("error", kind="user", text=str(error))
        except SandboxError as error:
            send("error", kind="sandbox", text=str(error))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                where = error.filename or tempfile.gettempdir()
                send("error", kind="user", text=f"disk full at {where}; free some space, then run the same command")
                continue
            traceback.print_exc()
            send("error", kind="fault", text=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    try:
        serve(sys.argv[1], sys.argv[2] or None, int(sys.argv[3]))
    except KeyboardInterrupt:
        raise SystemExit(0) from None
