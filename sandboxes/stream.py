"""The controller's end of the byte stream to a supervisor. What comes back is untrusted: every length is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from sandboxes import seccomp
from sandboxes.base import MIB, ExecResult, FileRefused, Limits, Mount, Sandbox, SandboxDied, SandboxError
from sandboxes.preload import Preload

MAX_HEADER = 64 * 1024
CHUNK = 256 * 1024
START_S = 60.0
TRANSFER_S = 120.0
"""Longest that a file may take in or out. It is memory to memory, so whatever takes longer has gone wrong inside."""
GRACE_S = 15.0
"""How much longer than the supervisor's own clock we wait before ending the whole sandbox."""

WARM_S = 120.0
"""Longest that an interpreter started ahead may take for its imports."""
WARM_PYTHON = ["python3", "-P"]

ENVIRONMENT = {
    "PATH": "/opt/python/bin:/usr/local/bin:/usr/bin:/bin",  # The first is there in an image of `host` only.
    "HOME": "/scratch",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONPATH": "/opt/site:/opt/ratchet/guest",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


class Wire(Protocol):
    """A connected byte stream."""

    async def read(self, count: int) -> bytes:
        """Up to `count` bytes; empty at the end."""
        ...

    async def write(self, data: bytes | memoryview) -> None:
        """All of `data`. Raises OSError when the other end is gone."""
        ...


class StreamSandbox(Sandbox):
    """A sandbox whose supervisor is driven over a stream. A backend adds how to open it, to end it, and to ask for oom."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._wire: Wire | None = None
        self._buffer = b""

    @abstractmethod
    async def open_wire(self) -> Wire:
        """Start the supervisor and connect to it."""

    @abstractmethod
    async def oom_kills(self) -> int:
        """How many processes of this sandbox the kernel has killed for memory so far."""

    @abstractmethod
    def resident_bytes(self) -> int:
        """Memory that its processes and its scratch files hold now; 0 where no control group tells."""

    def rlimits(self) -> dict[str, int]:
        """Limits that the kernel keeps per process, set by the supervisor just before it runs the candidate."""
        bounds = self.limits
        return {
            "RLIMIT_CORE": 0,
            "RLIMIT_CPU": int(bounds.wall_s * max(1.0, bounds.cpus)) + 5,
            "RLIMIT_FSIZE": bounds.file_bytes,
            "RLIMIT_NOFILE": bounds.open_files,
            # The kernel counts these per user, and every sandbox has the same: one could use up what all of them share.
            "RLIMIT_MSGQUEUE": 0,
            "RLIMIT_MEMLOCK": 8 * MIB,
        }

    async def start(self) -> None:
        """Start the supervisor and hear it say that it is ready."""
        try:
            self._wire = await self.open_wire()
            hello = await asyncio.wait_for(self._read_header(), START_S)
        except (TimeoutError, SandboxDied) as error:
            await self.close()
            raise SandboxError(f"sandbox did not start: {error or f'no answer in {START_S:g} s'}") from error
        except BaseException:
            await self.close()
            raise
        if "ready" not in hello:
            raise SandboxError("sandbox did not start: its supervisor said something else than ready")

    async def exec(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, wall_s: float | None = None
    ) -> ExecResult:
        """Run a program to its end; see `Sandbox.exec`."""
        wall = min(wall_s or self.limits.wall_s, self.limits.wall_s)
        before = await self.oom_kills()
        order = self._order("exec", argv, env, wall)
        try:
            await self._send({**order, "output_bytes": self.limits.output_bytes})
            header = await asyncio.wait_for(self._read_header(), wall + GRACE_S)
            stdout = await self._payload(header, "stdout", self.limits.output_bytes)
            stderr = await self._payload(header, "stderr", self.limits.output_bytes)
        except TimeoutError:
            # The supervisor itself no longer answers: end everything from outside.
            await self.close()
            return ExecResult(None, 9, b"", b"", timed_out=True, wall_s=wall + GRACE_S)
        return ExecResult(
            exit_code=_int_or_none(header, "exit_code"),
            signal=_int_or_none(header, "signal"),
            stdout=stdout,
            stderr=stderr,
            timed_out=header.get("timed_out") is True,
            flooded=header.get("flooded") is True,
            oom=await self.oom_kills() > before,
            wall_s=float(header.get("wall_s") or 0.0),
        )

    async def warm(self, preload: Preload) -> None:
        """Start an interpreter ahead that has imported modules; the next `exec` that fits it runs in it.

        It fits a program that is called as `python3 -P ...` with the same `env`. Raises SandboxError when an import fails.
        """
        order = self._order("warm", WARM_PYTHON, preload.env, WARM_S)
        await self._send({**order, "modules": preload.modules})
        try:
            header = await asyncio.wait_for(self._read_header(), WARM_S + GRACE_S)
        except TimeoutError:
            header = {}
        if header.get("warm") is not True:
            raise SandboxError(f"could not import {', '.join(preload.modules)} in the sandbox within {WARM_S:g} s")

    async def is_alive(self, *, warm: bool) -> bool:
        """True when the supervisor answers within two seconds, and (`warm`) so would the interpreter started ahead."""
        try:
            await self._send({"op": "ping"})
            header = await asyncio.wait_for(self._read_header(), 2.0)
        except (SandboxError, TimeoutError):
            return False
        return header.get("here") is True and (header.get("warm") is True or not warm)

    def _order(self, op: str, argv: Sequence[str], env: Mapping[str, str] | None, wall_s: float) -> dict[str, Any]:
        """What the supervisor needs to start a process."""
        return {
            "op": op,
            "argv": list(argv),
            "env": {**ENVIRONMENT, **(env or {})},
            "wall_s": wall_s,
            "rlimits": self.rlimits(),
            "filter": seccomp.programs(),
        }

    async def put(self, path: str, data: bytes) -> None:
        """Write a file; see `Sandbox.put`."""
        async with self._bounded(path):
            await self._send({"op": "put", "path": path, "size": len(data)}, data)
            error = (await self._read_header()).get("error")
        if error is not None:
            raise SandboxError(f"could not write {path} in the sandbox: {str(error)[:200]}")

    async def get(self, path: str, *, max_bytes: int) -> bytes:
        """Read a file; see `Sandbox.get`."""
        async with self._bounded(path):
            await self._send({"op": "get", "path": path, "max": max_bytes})
            header = await self._read_header()
            if header.get("error") is not None:
                raise FileRefused(str(header["error"])[:200])
            return await self._payload(header, "size", max_bytes)

    @contextlib.asynccontextmanager
    async def _bounded(self, path: str) -> AsyncIterator[None]:
        """End the sandbox when a transfer takes too long: half of it may be on the wire, so no more can be said."""
        try:
            async with asyncio.timeout(TRANSFER_S):
                yield
        except TimeoutError as error:
            await self.close()
            raise SandboxDied(f"sandbox did not answer about {path} in {TRANSFER_S:g} s") from error

    # -- bytes ---------------------------------------------------------------------------------------------------

    async def _send(self, order: dict[str, Any], payload: bytes = b"") -> None:
        if self._wire is None:
            raise SandboxDied("sandbox is not running")
        try:
            await self._wire.write(json.dumps(order).encode() + b"\n")
            view = memoryview(payload)
            for at in range(0, len(view), CHUNK):
                await self._wire.write(view[at : at + CHUNK])
        except OSError as error:
            raise await self._died() from error

    async def _fill(self) -> None:
        self._buffer += await self._read(CHUNK)

    async def _read(self, count: int) -> bytes:
        """Some bytes; raises SandboxDied at the end of the stream."""
        try:
            part = await self._wire.read(count) if self._wire is not None else b""
        except OSError as error:
            raise await self._died() from error
        if not part:
            raise await self._died()
        return part

    async def _read_header(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_HEADER:
                raise SandboxDied("sandbox sent something that is not our protocol")
            await self._fill()
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            header = json.loads(line)
        except ValueError as error:
            raise SandboxDied("sandbox sent something that is not our protocol") from error
        if not isinstance(header, dict):
            raise SandboxDied("sandbox sent something that is not our protocol")
        return header

    async def _payload(self, header: dict[str, Any], key: str, bound: int) -> bytes:
        size = header.get(key)
        if type(size) is not int or not 0 <= size <= bound:
            raise SandboxDied(f"sandbox announced {key} of an impossible size")
        parts, have = [self._buffer[:size]], min(size, len(self._buffer))
        self._buffer = self._buffer[size:]
        while have < size:
            part = await self._read(min(CHUNK, size - have))
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    async def _died(self) -> SandboxDied:
        oom = await self.oom_kills() > 0
        return SandboxDied("sandbox ran out of memory" if oom else "sandbox ended while the candidate ran", oom=oom)


class StreamFactory(Protocol):
    """A factory of a backend: what it makes can be warmed."""

    name: str

    def sandbox(self, image: str, limits: Limits, mounts: Sequence[Mount] = ()) -> StreamSandbox:
        """A sandbox that is not yet started."""
        ...


def _int_or_none(header: dict[str, Any], key: str) -> int | None:
    value = header.get(key)
    return value if type(value) is int else None
