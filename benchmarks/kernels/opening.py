"""Start a program in a fresh sandbox, with the one socket over which it is timed."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.kernels import protocol
from benchmarks.kernels.channel import Ended
from benchmarks.kernels.clock import Program
from benchmarks.kernels.lending import NO_ROOM, Room
from benchmarks.kernels.target import Target
from benchmarks.program import MAX_SOURCE_BYTES
from benchmarks.task import Bench, Candidate, Verdict
from sandboxes import lease
from sandboxes.base import Limits, Mount
from sandboxes.session import open_session


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
def program(
    candidate: Candidate, image: str, limits: Limits, bench: Bench, target: Target, room: Room = NO_ROOM
) -> Iterator[Program]:
    """Start a candidate in a fresh sandbox. It isn't loaded yet (`connect`), so that several can load at once.

    With `room` for the largest block to come, its memory stays the same for as long as it lives.

    Raises Ended for a source that is too large, SandboxError for a fault of ours.
    """
    if len(candidate.source.encode(errors="replace")) > MAX_SOURCE_BYTES:
        raise Ended(Verdict.INVALID, f"source is larger than {MAX_SOURCE_BYTES} bytes")
    with ExitStack() as stack:
        folder, listener = stack.enter_context(listening())
        mount = Mount(folder, str(Path(protocol.SOCKET).parent))
        limits = replace(limits, cores=target.cores)
        session = stack.enter_context(open_session(bench.sandboxes, image, limits, [mount]))
        running = Program(session, listener, candidate.source, limits, target, room)
        stack.callback(running.close)
        yield running
