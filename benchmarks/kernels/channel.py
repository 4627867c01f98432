"""The evaluator's end of the one socket to a sandbox: lines out, lines in by a deadline, and what became of who owed them.

What comes in is the candidate's to choose. It is read up to a bound, and anything but the reply that is owed ends the program.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from typing import NoReturn

from benchmarks.kernels import idle, protocol
from benchmarks.program import verdict_of
from benchmarks.task import Verdict
from sandboxes.base import ExecResult, Limits, SandboxDied, SandboxError

EXIT_S = 10.0
"""Longest wait, after the socket closed, for the sandbox to say how the process ended."""


class Ended(Exception):
    """A program is out of the run, with the verdict that ended it."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason


class Channel:
    """The socket to a guest that starts lives, of which one at a time speaks over it."""

    def __init__(self, connection: socket.socket, ending: Future[ExecResult], limits: Limits) -> None:
        self._socket, self._ending, self._limits = connection, ending, limits
        self.guest = idle.peer_pid(connection)
        """Process id of the guest as we see it, None when it isn't visible. Once a life runs it is only woken to start the next or
        to tell how the last one ended: while it slept on beside a block, waking it would cost the clock some microseconds."""
        self._life: int | None = None

    def watch(self, process: int | None) -> None:
        """From now on that process is the life that speaks; its end is noticed while we wait for a line."""
        self._forget()
        with suppress(OSError):
            self._life = os.pidfd_open(process) if process is not None else None

    def wake_guest(self) -> None:
        """Let the guest go on: its life has ended, or is about to."""
        if self.guest is not None:
            idle.thaw([self.guest])

    def listen_for_nothing(self) -> None:
        """A program that speaks before it is asked has an answer ready to a question it doesn't know."""
        self._socket.settimeout(0.0)
        try:
            said = self._socket.recv(protocol.MAX_REPLY_BYTES)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            raise Ended(Verdict.REWARD_HACK, "replied before it was asked")
        self.end("closed its socket")

    def send(self, line: bytes, handles: Sequence[int] = ()) -> None:
        """Send a line, with descriptors where there are any."""
        self._socket.settimeout(1.0)
        try:
            sent = socket.send_fds(self._socket, [line], list(handles)) if handles else 0
            self._socket.sendall(line[sent:])
        except OSError:
            self.end("closed its socket")

    def line(self, deadline: float, late: str, begins: bytes) -> bytes:
        """Read one line that begins as it should. Raises Ended, with `late` when it isn't there by the deadline."""
        line = b""
        while not line.endswith(b"\n"):
            if not self._wait(deadline):
                raise Ended(Verdict.TIMEOUT, late)
            try:
                part = self._socket.recv(protocol.MAX_REPLY_BYTES)
            except OSError:
                part = b""
            if not part:
                self.end("closed its socket")
            line += part
            if len(line) > protocol.MAX_REPLY_BYTES or line[: len(begins)] != begins[: len(line)]:
                raise Ended(Verdict.INVALID, "sent something else than the reply it owed")
        return line

    def expect(self, wanted: bytes, deadline: float, late: str) -> None:
        """Read one line and insist that it is `wanted`."""
        if self.line(deadline, late, wanted) != wanted:
            raise Ended(Verdict.INVALID, "sent something else than the reply it owed")

    def done(
        self, sequence: int, deadline: float, late: str, look_after_s: float | None, look: Callable[[], None]
    ) -> float:
        """Wait for "done", looking once on the way if asked to; returns the seconds that the candidate claims."""
        if look_after_s is not None and not select.select([self._socket], [], [], look_after_s)[0]:
            look()
        line = self.line(deadline, late, b"done %d " % sequence)
        try:
            return protocol.decode_done(line, sequence) / 1e9
        except protocol.ProtocolError as error:
            raise Ended(Verdict.INVALID, "sent something else than the reply it owed") from error

    def _wait(self, deadline: float) -> bool:
        """Until there is something to read; False when the deadline came first."""
        while True:
            watched: list[socket.socket | int] = [self._socket, *([] if self._life is None else [self._life])]
            ready = select.select(watched, [], [], max(1e-3, deadline - time.monotonic()))[0]
            if not ready or self._socket in ready:
                return bool(ready)
            # The life has ended and the guest, which holds the socket as well, sleeps: it ends as the life did.
            self._forget()
            self.wake_guest()

    def _forget(self) -> None:
        if self._life is not None:
            os.close(self._life)
        self._life = None

    def end(self, otherwise: str) -> NoReturn:
        """Raise Ended with what the sandbox says became of the process."""
        self.wake_guest()
        end(self._ending, self._limits, otherwise)

    def close(self) -> None:
        """Hang up."""
        self._forget()
        self._socket.close()
        self.wake_guest()


def end(ending: Future[ExecResult], limits: Limits, otherwise: str) -> NoReturn:
    """Raise Ended with what the sandbox says became of the process, or with `otherwise` where it says nothing of note."""
    try:
        ended = verdict_of(ending.result(timeout=EXIT_S), limits)
    except NotYet:
        raise Ended(Verdict.INVALID, f"{otherwise} and went on running") from None
    except SandboxDied as error:
        if error.outside:
            raise SandboxError(str(error)) from error
        raise Ended(Verdict.OOM if error.oom else Verdict.CRASH, str(error)) from error
    raise Ended(*(ended or (Verdict.INVALID, otherwise)))
