"""The sandbox protocol: what every backend promises, and what a caller may not assume.

A sandbox is a fresh, network-less, unprivileged place with one small supervisor inside (`guest/supervisor.py`). The
supervisor is driven over one byte stream (`stream.py`), so a backend is only a way to start it: `docker.py` and
`bubblewrap.py` differ in nothing else. When the controller dies, the stream closes, and the sandbox ends by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

MIB = 1024 * 1024


class SandboxError(Exception):
    """A fault of ours or of the machine (no engine, no image, stream broken by us): never the candidate's doing."""


class UserError(Exception):
    """A mistake that the user can mend. The message is one line and names the fix. The command line exits with 2."""


class SandboxDied(SandboxError):
    """The sandbox ended while we were talking to it: killed, out of memory, or the candidate took it down.

    `outside` is True only when it was shown that something outside the sandbox ended it (the engine stopped, somebody
    killed it): then it says nothing about the candidate, and the work may be done once more.
    """

    def __init__(self, message: str, *, oom: bool = False, outside: bool = False) -> None:
        super().__init__(message)
        self.oom = oom
        self.outside = outside


class FileRefused(Exception):
    """A file asked for with `get` is missing, not a regular file, or larger than the bound."""


@dataclass(frozen=True)
class Limits:
    """Bounds of one sandbox. Every one has a default; none can be unlimited."""

    memory_bytes: int = 2048 * MIB
    """Resident memory of all processes together; swap is included, so it cannot be used."""
    pids: int = 128
    cpus: float = 2.0
    """Seconds of CPU time in a second, as an average over a tenth of one: a short burst may take every core of the machine."""
    cores: tuple[int, ...] = ()
    """Numbers of the cores that its processes may run on, by its control group; without one, nothing holds them. Empty: any."""
    wall_s: float = 120.0
    """Wall clock of one `exec`, enforced inside by the supervisor and outside by us."""
    file_bytes: int = 512 * MIB
    """Largest file a process may write."""
    scratch_bytes: int = 768 * MIB
    """Size of the one writable place, a tmpfs (it counts as memory too)."""
    scratch_files: int = 65_536
    """Files, folders and links in each writable place. Each takes about a KiB of the kernel's memory, empty or not."""
    open_files: int = 512
    output_bytes: int = 1 * MIB
    """Bytes a process may write to stdout or to stderr before it is killed."""
    gpus: int = 0
    """GPUs passed in. Without one asked for, none is seen; docs/security.md says what it costs to ask."""

    def with_(self, **changes: float) -> Limits:
        """A copy with some bounds changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Mount:
    """A host folder shown inside at `target`. The only reason for one is a socket or shared memory that we own."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class ExecResult:
    """How one process ended. All fields describe what the supervisor or the kernel saw; the bytes are untrusted."""

    exit_code: int | None
    """None when a signal ended it."""
    signal: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    flooded: bool = False
    """It wrote more than `Limits.output_bytes` to one stream and was killed for it."""
    oom: bool = False
    """The kernel killed something in this sandbox for memory. Read from the cgroup, not guessed from exit code 137."""
    wall_s: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Ended by itself with exit code 0. That says nothing about the work: `SystemExit(0)` looks the same."""
        return self.exit_code == 0 and not (self.timed_out or self.flooded or self.oom)


class Sandbox(ABC):
    """One sandbox. Use it as `async with factory.sandbox(...) as box`. Not shared between candidates, ever."""

    image_digest: str = ""
    backend: str = ""

    @abstractmethod
    async def start(self) -> None:
        """Start it. Raises SandboxError when the backend or the image is missing."""

    @abstractmethod
    async def exec(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, wall_s: float | None = None
    ) -> ExecResult:
        """Run a program to its end, in /scratch, and kill whatever it left behind.

        Raises SandboxDied when the sandbox itself ended. An exit code of 137 may be memory or a kill: read `oom`.
        """

    @abstractmethod
    async def put(self, path: str, data: bytes) -> None:
        """Write a file below /scratch. Raises SandboxDied; a full scratch space is a SandboxError."""

    @abstractmethod
    async def get(self, path: str, *, max_bytes: int) -> bytes:
        """Read a regular file. Raises FileRefused (missing, a link, a device, too large) or SandboxDied."""

    @abstractmethod
    async def close(self) -> None:
        """End every process in it and remove it. Never raises, may be called twice."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class SandboxFactory(Protocol):
    """Makes sandboxes of one backend."""

    name: str

    def sandbox(self, image: str, limits: Limits, mounts: Sequence[Mount] = ()) -> Sandbox:
        """A sandbox that is not yet started."""
        ...
