"""The evaluator's side of a timed program: start it, hand it memory, and read the clock when its answer is read.

Nothing the candidate says is a measurement. The inputs are written while the program is frozen, and the clock starts before it
is woken, so work can't begin before it. It stops when words from all over the outputs have been read, and everything is
copied and compared with them at once, so work can't be put off until after it.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.kernels import advice, cores, idle, protocol
from benchmarks.kernels.environment import ENVIRONMENT
from benchmarks.kernels.lending import NO_ROOM, Lending, Room
from benchmarks.kernels.memory import THREADS
from benchmarks.kernels.problem import Tensors
from benchmarks.kernels.protocol import Run, TensorSpec
from benchmarks.kernels.target import Target
from benchmarks.program import reached, verdict_of
from benchmarks.task import Stage, Verdict
from sandboxes.base import ExecResult, Limits, SandboxDied, SandboxError
from sandboxes.session import Session

HERE = Path(__file__).parent
START_S = 90.0
"""Longest time to start Python and load torch, in seconds; several start at once on few cores."""
LOAD_S = 20.0
"""Longest time to run the top level of the candidate's file, in seconds."""
EXIT_S = 10.0
"""Longest wait, after the socket closed, for the sandbox to say how the process ended."""
BUSY = 0.5
"""How much slower than at its best the device may be before a block. More, and somebody is still at work on it."""
PREPARE_S = 20.0
"""Longest time to make the tensors of a block, in seconds."""


class Ended(Exception):
    """A program is out of the run, with the verdict that ended it."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


@dataclass(frozen=True)
class Look:
    """How far a block was at one instant."""

    gone: float
    """Share of the block's time that had gone by."""
    begun: float
    """Share of the slots whose outputs had been begun."""
    ordered: bool
    """False when a slot had been begun before one that comes before it."""
    slots: int
    """How many slots the block has. A launch may write nothing until its end, so `begun` can be one of them late."""


@dataclass(frozen=True)
class Timed:
    """One block as the evaluator saw it."""

    seconds: float
    """From waking the program to having glanced at its outputs, protocol included."""
    outputs: list[Tensors]
    """Private copies of the outputs, by slot and name."""
    claimed: float
    """Seconds of kernel calls by the candidate's own clock. Advice."""
    look: Look | None = None
    """Where asked for, and where the block had not ended by then."""
    state: dict[str, float] = field(default_factory=dict)
    """What the device said of itself, before (`.before`) and after (`.after`) the block."""


class Program:
    """One candidate in its sandbox, ready to be timed. After `Ended` it must not be used again."""

    def __init__(
        self,
        session: Session,
        listener: socket.socket,
        source: str,
        limits: Limits,
        target: Target,
        room: Room = NO_ROOM,
    ) -> None:
        self._listener = listener
        self._session = session
        self._limits = limits
        self._target = target
        self._lending = Lending(target, room)
        self._sequence = 0
        self._channel: socket.socket | None = None
        self.image = session.image_digest
        self.backend = session.backend
        self.root: int | None = None
        """Process id of the sandbox's supervisor, for `idle`; None when it isn't visible."""
        self._frozen: list[int] | None = None
        self._placement = cores.Placement(None, THREADS)
        self._loading = True
        # Not `candidate.py`: the guest would import that instead of the loader of the same name.
        files = {"program.py": source.encode()}
        for name in ("guest.py", "protocol.py", *target.guest_files()):
            files[name] = (HERE / name).read_bytes()
        try:
            for name, text in files.items():
                session.put(f"/scratch/{name}", text)
        except SandboxDied as error:
            raise SandboxError(f"sandbox died before the candidate ran: {error}") from error
        argv = ["python3", "-P", "/scratch/guest.py", protocol.SOCKET, "/scratch/program.py", target.name]
        self._ending: Future[ExecResult] = session.exec_later([*argv, advice.form(source)], env=ENVIRONMENT)

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
        self._placement = cores.Placement(pid, THREADS)
        self._expect(protocol.READY, time.monotonic() + LOAD_S, f"not loaded within {LOAD_S:g} s")
        self._loading = False

    def time(
        self,
        slots: Sequence[Tensors],
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        *,
        wall_s: float,
        rng: random.Random,
        look_after_s: float | None = None,
    ) -> Timed:
        """Time one block: one kernel call for each slot. Raises Ended, also when it takes longer than `wall_s`.

        With `look_after_s`, see after that many seconds how many slots have been begun.
        """
        self.thaw()
        self._sequence += 1
        self._listen_for_nothing()
        with ExitStack() as block:
            given, taken, handles = block.enter_context(self._lending.block(slots, inputs, outputs))
            run = Run(self._sequence, len(slots), inputs, outputs, self._lending.room)
            self._send(protocol.encode_run(run), handles)
            late = f"its tensors were not ready within {PREPARE_S:g} s"
            self._expect(protocol.prepared(self._sequence), time.monotonic() + PREPARE_S, late)
            frozen = self.freeze()
            taken.poison()
            if frozen:
                given.fill()
            if self._target.settle()[0] > BUSY:
                raise Ended(Verdict.REWARD_HACK, "was at work on the device before it was asked")
            if self._target.name == "cpu":
                block.callback(self._placement.release)
                self._placement.bind(self._frozen or ())
            state = {f"{name}.before": value for name, value in self._target.state().items()}
            start = rng.randrange(2**30)
            looked: list[tuple[float, list[bool]]] = []
            begun = time.perf_counter_ns()

            def look() -> None:
                looked.append(((time.perf_counter_ns() - begun) / 1e9, taken.started()))

            if not frozen:
                # It could be watching its memory, so the data come on its own time.
                given.fill()
            self.thaw()
            self._send(protocol.go(self._sequence))
            self._placement.started()
            claimed = self._done(time.monotonic() + wall_s, wall_s, look_after_s, look)
            glance = taken.glance(start)
            seconds = (time.perf_counter_ns() - begun) / 1e9
            taken.read()
            state |= {f"{name}.after": value for name, value in self._target.state().items()}
            if not torch.equal(glance, taken.glance_of_copy(start)):
                raise Ended(Verdict.REWARD_HACK, 'outputs changed after the kernel had said "done"')
            if not given.unchanged() or taken.strayed():
                raise Ended(Verdict.INVALID, "changed its inputs, which are read-only, or memory behind its outputs")
            look_at = None
            for at, began in looked:
                look_at = Look(at / seconds, sum(began) / len(began), began == sorted(began, reverse=True), len(began))
            return Timed(seconds, taken.slots(), claimed, look_at, state)

    def freeze(self) -> bool:
        """Stop every process of the sandbox but the supervisor; False where that can't be done from here."""
        self._frozen = idle.freeze(self.root) if self.root is not None else None
        return self._frozen is not None

    def thaw(self) -> None:
        """Let them go on."""
        if self._frozen:
            idle.thaw(self._frozen)
        self._frozen = None

    def _listen_for_nothing(self) -> None:
        """A program that speaks before it is asked has an answer ready to a question it doesn't know."""
        assert self._channel is not None
        self._channel.settimeout(0.0)
        try:
            said = self._channel.recv(protocol.MAX_REPLY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            raise Ended(Verdict.REWARD_HACK, "replied before it was asked")
        self._end("closed its socket")

    def _send(self, line: bytes, handles: Sequence[int] = ()) -> None:
        assert self._channel is not None
        self._channel.settimeout(1.0)
        try:
            sent = socket.send_fds(self._channel, [line], list(handles)) if handles else 0
            self._channel.sendall(line[sent:])
        except OSError:
            self._end("closed its socket")

    def _line(self, deadline: float, late: str, begins: bytes) -> bytes:
        """Read one line that begins as it should; the bytes are the candidate's and can be anything."""
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
            if len(line) > protocol.MAX_REPLY_BYTES or line[: len(begins)] != begins[: len(line)]:
                raise Ended(Verdict.INVALID, "sent something else than the reply it owed")
        return line

    def _expect(self, wanted: bytes, deadline: float, late: str) -> None:
        """Read one line and insist that it is `wanted`."""
        if self._line(deadline, late, wanted) != wanted:
            raise Ended(Verdict.INVALID, "sent something else than the reply it owed")

    def _done(self, deadline: float, wall_s: float, look_after_s: float | None, look: Callable[[], None]) -> float:
        """Wait for "done", looking once on the way if asked to; returns the seconds that the candidate claims."""
        assert self._channel is not None
        if look_after_s is not None and not select.select([self._channel], [], [], look_after_s)[0]:
            look()
        line = self._line(deadline, f"a launch took longer than {wall_s:g} s", b"done %d " % self._sequence)
        try:
            return protocol.decode_done(line, self._sequence) / 1e9
        except protocol.ProtocolError as error:
            raise Ended(Verdict.INVALID, "sent something else than the reply it owed") from error

    def _end(self, otherwise: str) -> None:
        """Raise Ended with what the sandbox says became of the process."""
        try:
            ended = verdict_of(self._ending.result(timeout=EXIT_S), self._limits)
        except NotYet:
            raise Ended(Verdict.INVALID, f"{otherwise} and went on running") from None
        except SandboxDied as error:
            if error.outside:
                raise SandboxError(str(error)) from error
            raise Ended(Verdict.OOM if error.oom else Verdict.CRASH, str(error)) from error
        raise Ended(*(ended or (Verdict.INVALID, otherwise)))

    def stage(self) -> Stage:
        """How far it came. The word is the sandbox's where the process has ended, and otherwise ours."""
        if self._ending.done():
            return reached(self._session)
        return Stage.IMPORT if self._loading else Stage.SMOKE

    def close(self) -> None:
        """Hang up; the sandbox is closed by who opened it."""
        self._listener.close()
        self._lending.close()
        if self._channel is not None:
            self._channel.close()
