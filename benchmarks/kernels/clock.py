"""The evaluator's side of a timed program: start it, hand it memory, and read the clock when its answer is read.

Nothing the candidate says is a measurement. The clock starts before the request leaves, and stops after the outputs have
been copied into memory of ours, so work can't be put off until after it. The inputs travel with the request,
so work can't begin before it.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.kernels import idle, protocol
from benchmarks.kernels.memory import Array, OutputMemory, input_memory
from benchmarks.kernels.protocol import Run, TensorSpec
from benchmarks.program import MAX_SOURCE_BYTES, verdict_of
from benchmarks.task import Bench, Candidate, Verdict
from sandboxes import lease
from sandboxes.base import ExecResult, Limits, Mount, SandboxDied, SandboxError
from sandboxes.session import Session, open_session

HERE = Path(__file__).parent
THREADS = 2
ENVIRONMENT = {
    "OMP_NUM_THREADS": str(THREADS),
    "MKL_NUM_THREADS": str(THREADS),
    "OPENBLAS_NUM_THREADS": str(THREADS),
    # Idle threads sleep instead of spinning: several programs share the cores, one at a time.
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "PYTHONUNBUFFERED": "1",
}
START_S = 90.0
"""Longest time to start Python and load torch, in seconds; several start at once on few cores."""
LOAD_S = 20.0
"""Longest time to run the top level of the candidate's file, in seconds."""
EXIT_S = 10.0
"""Longest wait, after the socket closed, for the sandbox to say how the process ended."""
SAMPLES = 1024
"""Elements looked at in the instant of "done"; outputs that change after it have been worked on out of time."""


class Ended(Exception):
    """A program is out of the run, with the verdict that ended it."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


@dataclass(frozen=True)
class Timed:
    """One block as the evaluator saw it."""

    seconds: float
    """Request sent to outputs read back, protocol included."""
    outputs: list[dict[str, Array]]
    """Private copies of the outputs, by slot and name."""


class Program:
    """One candidate in its sandbox, ready to be timed. After `Ended` it must not be used again."""

    def __init__(self, session: Session, listener: socket.socket, source: str, limits: Limits) -> None:
        self._listener = listener
        self._limits = limits
        self._sequence = 0
        self._channel: socket.socket | None = None
        self.image = session.image_digest
        self.backend = session.backend
        self.root: int | None = None
        """Process id of the sandbox's supervisor, for `idle`; None when it isn't visible."""
        try:
            for name, text in (
                ("guest.py", (HERE / "guest.py").read_bytes()),
                ("protocol.py", (HERE / "protocol.py").read_bytes()),
                # Not `candidate.py`: the guest would import that instead of the loader of the same name.
                ("program.py", source.encode()),
            ):
                session.put(f"/scratch/{name}", text)
        except SandboxDied as error:
            raise SandboxError(f"sandbox died before the candidate ran: {error}") from error
        argv = ["python3", "/scratch/guest.py", protocol.SOCKET, "/scratch/program.py"]
        self._ending: Future[ExecResult] = session.exec_later(argv, env=ENVIRONMENT)

    def connect(self) -> None:
        """Wait until the program is loaded. Raises Ended."""
        deadline = time.monotonic() + START_S
        while self._channel is None:
            self._listener.settimeout(0.2)
            try:
                self._channel, _ = self._listener.accept()
            except TimeoutError:
                if self._ending.done():
                    self._end("ended before it was ready")
                if time.monotonic() > deadline:
                    raise Ended(Verdict.TIMEOUT, f"not started within {START_S:g} s") from None
        # One connection is all there is, and it was made before the candidate's first line ran.
        self._listener.close()
        pid = idle.peer_pid(self._channel)
        self.root = idle.sandbox_root(pid) if pid else None
        self._expect(protocol.READY, time.monotonic() + LOAD_S, f"not loaded within {LOAD_S:g} s")

    def time(
        self,
        slots: Sequence[Mapping[str, Array]],
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        *,
        wall_s: float,
        rng: random.Random,
    ) -> Timed:
        """Time one block: one kernel call for each slot. Raises Ended, also when it takes longer than `wall_s`."""
        assert self._channel is not None
        self._sequence += 1
        request = protocol.encode_run(Run(self._sequence, len(slots), inputs, outputs))
        given = input_memory(slots, inputs)
        try:
            with OutputMemory(outputs, len(slots)) as taken:
                stride = max(1, sum(s.items for s in outputs) * len(slots) // SAMPLES)
                start = rng.randrange(stride)
                begun = time.perf_counter_ns()
                self._send(request, [given, taken.handle])
                self._expect(
                    protocol.done(self._sequence), time.monotonic() + wall_s, f"a launch took longer than {wall_s:g} s"
                )
                glimpse = taken.sample(start, stride)
                copy = taken.read()
                seconds = (time.perf_counter_ns() - begun) / 1e9
                if not np.array_equal(glimpse, copy[start::stride], equal_nan=True):
                    raise Ended(Verdict.REWARD_HACK, 'outputs changed after the kernel had said "done"')
                return Timed(seconds, taken.slots(copy))
        finally:
            os.close(given)

    def _send(self, request: bytes, handles: list[int]) -> None:
        assert self._channel is not None
        self._channel.settimeout(1.0)
        try:
            socket.send_fds(self._channel, [request], handles)
        except OSError:
            self._end("closed its socket")

    def _expect(self, wanted: bytes, deadline: float, late: str) -> None:
        """Read one line and insist that it is `wanted`; the bytes are the candidate's and can be anything."""
        assert self._channel is not None
        line = b""
        while not line.endswith(b"\n"):
            self._channel.settimeout(max(1e-3, deadline - time.monotonic()))
            try:
                part = self._channel.recv(protocol.MAX_REPLY_BYTES)
            except TimeoutError:
                raise Ended(Verdict.TIMEOUT, late) from None
            except OSError:
                part = b""
            if not part:
                self._end("closed its socket")
            line += part
            if line != wanted[: len(line)]:
                raise Ended(Verdict.INVALID, "sent something else than the reply it owed")

    def _end(self, otherwise: str) -> None:
        """Raise Ended with what the sandbox says became of the process."""
        try:
            ended = verdict_of(self._ending.result(timeout=EXIT_S), self._limits)
        except NotYet:
            raise Ended(Verdict.INVALID, f"{otherwise} and went on running") from None
        except SandboxDied as error:
            raise Ended(Verdict.OOM if error.oom else Verdict.CRASH, str(error)) from error
        raise Ended(*(ended or (Verdict.INVALID, otherwise)))

    def close(self) -> None:
        """Hang up; the sandbox is closed by who opened it."""
        self._listener.close()
        if self._channel is not None:
            self._channel.close()


@contextmanager
def listening() -> Iterator[tuple[Path, socket.socket]]:
    """A folder that holds nothing but a listening `clock.sock`, which any user may connect to but not replace."""
    with tempfile.TemporaryDirectory(prefix=lease.folder_prefix()) as folder, socket.socket(socket.AF_UNIX) as listener:
        os.chmod(folder, 0o755)
        # A socket's path may have 107 bytes and a temporary folder's can be longer, so name it by descriptor.
        handle = os.open(folder, os.O_PATH)
        try:
            listener.bind(f"/proc/self/fd/{handle}/clock.sock")
        finally:
            os.close(handle)
        os.chmod(f"{folder}/clock.sock", 0o666)
        listener.listen(1)
        yield Path(folder), listener


@contextmanager
def program(candidate: Candidate, image: str, limits: Limits, bench: Bench) -> Iterator[Program]:
    """Start a candidate in a fresh sandbox. It isn't loaded yet (`connect`), so that several can load at once.

    Raises Ended for a source that is too large, SandboxError for a fault of ours.
    """
    if len(candidate.source.encode(errors="replace")) > MAX_SOURCE_BYTES:
        raise Ended(Verdict.INVALID, f"source is larger than {MAX_SOURCE_BYTES} bytes")
    with ExitStack() as stack:
        folder, listener = stack.enter_context(listening())
        mount = Mount(folder, str(Path(protocol.SOCKET).parent))
        session = stack.enter_context(open_session(bench.sandboxes, image, limits, [mount]))
        running = Program(session, listener, candidate.source, limits)
        stack.callback(running.close)
        yield running
