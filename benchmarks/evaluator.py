"""The evaluator's process: the only one that holds answers, seeds and clock, apart from the loop and from the sandboxes.

The controller starts it, sends requests and gets scores, as JSON lines over its stdin and stdout. It ends, and closes
its sandboxes, when the controller's end of the pipe closes, however the controller died. The model stays with the
controller: the evaluator asks for a socket and gets the path of its folder.

    controller → {"op": "score", "task", "split", "quick", "second", "candidates"} | {"op": "stage", "task", "candidates"}
                 {"folder": path} in answer to "model"
    evaluator  → {"event": "progress" | "commit" | "model" | "model-end" | "scores" | "staged" | "error", ...}
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
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import IO, Any, Self

from benchmarks.evaluate import evaluate
from benchmarks.registry import task as find
from benchmarks.smoke import Staged, stage
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
    `scripted` is the gate that harnesses are staged with, in place of `model`: one that answers at once.
    """

    def __init__(
        self,
        backend: str = "auto",
        *,
        runtime: str | None = None,
        model: ModelGate | None = None,
        scripted: ModelGate | None = None,
        progress: Say = _quiet,
        ahead: int = 0,
    ) -> None:
        self._backend, self._runtime, self._model, self._progress = backend, runtime, model, progress
        self._scripted, self._ahead = scripted, ahead
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
        self,
        task: str,
        candidates: Sequence[Candidate],
        split: Split,
        *,
        quick: bool = False,
        second: bool = False,
        on_commit: Say = _quiet,
    ) -> list[Score]:
        """Score candidates on one split under one fresh secret seed. Raises UserError and SandboxError.

        `second`: with the task's second evaluator (`Task.second`), whose scores nothing may be chosen by.
        """
        order = {
            "op": "score", "task": task, "split": split.value, "quick": quick, "second": second,
            "candidates": [c.model_dump() for c in candidates],
        }  # fmt: skip
        answer = self._ask(order, self._model, "this task needs a language model, and none was given", on_commit)
        return [Score.model_validate(s) for s in answer["scores"]]

    def stage(self, task: str, candidates: Sequence[Candidate]) -> list[Staged]:
        """Say of each candidate how far it comes on a made-up input (`Task.smoke`). Raises UserError and SandboxError."""
        order = {"op": "stage", "task": task, "candidates": [c.model_dump() for c in candidates]}
        lacking = "this task's harnesses are staged with a scripted model, and none was given: Evaluator(scripted=...)"
        return [Staged.model_validate(s) for s in self._ask(order, self._scripted, lacking)["staged"]]

    def _ask(
        self, order: dict[str, Any], model: ModelGate | None, lacking: str, on_commit: Say = _quiet
    ) -> dict[str, Any]:
        """Send an order and see to what is asked for until its answer is there."""
        self._send(order)
        refused: UserError | None = None
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
                        try:
                            self._send({"folder": str(sockets.enter_context(_gate(model, lacking, message)))})
                        except UserError as error:  # The evaluator must not wait for ever for a folder.
                            refused = error
                            self._send({"refused": str(error)})
                    case "model-end":
                        sockets.close()
                    case "scores" | "staged":
                        return message
                    case "error":
                        if refused is not None:
                            raise refused
                        raise (UserError if message["kind"] == "user" else SandboxError)(message["text"])

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


def _gate(model: ModelGate | None, lacking: str, message: dict[str, Any]) -> AbstractContextManager[Path]:
    """The gate that the evaluator asks for. Raises UserError."""
    if model is None:
        raise UserError(lacking)
    return model.open(token_budget=message["budget"], label=message["label"], weights=message["weights"])


# -- the process itself --------------------------------------------------------------------------------------------


class _RemoteModel:
    """The evaluator's side of the model: it asks the controller for a socket."""

    def __init__(self, send: Callable[..., None], inbox: Queue[dict[str, Any]]) -> None:
        self._send, self._inbox = send, inbox

    @contextmanager
    def open(self, *, token_budget: int, label: str, weights: str | None = None) -> Iterator[Path]:
        """See `ModelGate.open`."""
        self._send("model", budget=token_budget, label=label, weights=weights)
        answer = self._inbox.get()
        if "refused" in answer:
            raise UserError(answer["refused"])
        yield Path(answer["folder"])
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


def _answer(order: dict[str, Any], bench: Bench, send: Callable[..., None]) -> None:
    """Do what an order says. Raises UserError and SandboxError."""
    task, candidates = find(order["task"]), [Candidate.model_validate(c) for c in order["candidates"]]
    if order["op"] == "stage":
        send("staged", staged=[s.model_dump(mode="json") for s in stage(task, candidates, bench)])
        return
    if order["second"]:
        other = task.second()
        if other is None:
            raise UserError(f"{task.name} has no second evaluator; score it without second=True")
        task = other
    scores = evaluate(
        task, candidates, Split(order["split"]), replace(bench, quick=order["quick"]),
        lambda committed: send("commit", commitment=committed),
    )  # fmt: skip
    send("scores", scores=[s.model_dump(mode="json") for s in scores])


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
            bench = Bench(factory, _RemoteModel(send, inbox), lambda text: send("progress", text=text))
            _answer(order, bench, send)
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
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background job is started deaf to it.
    try:
        serve(sys.argv[1], sys.argv[2] or None, int(sys.argv[3]))
    except KeyboardInterrupt:
        raise SystemExit(0) from None
