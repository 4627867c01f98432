"""Sandboxes started ahead and handed out once, their interpreter warm: fresh isolation without the wait for it.

A `Pool` is a factory over another factory. What it hands out is a sandbox in which nothing of any candidate has ever run,
and it is never handed out again. It only moves the time at which a sandbox starts; what the sandbox can do is the same.

The pool starts sandboxes like the last one that was asked for. So the first of a kind is as slow as without a pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from sandboxes import lease
from sandboxes.base import MIB, ExecResult, Limits, Mount, Sandbox, SandboxError
from sandboxes.preload import Preload, preload
from sandboxes.stream import StreamFactory, StreamSandbox

WAITING_BYTES = 2048 * MIB
"""What sandboxes that nobody has asked for yet may hold together, in bytes, unless someone says otherwise."""
GRACE_S = 0.05
"""Pause after one was handed out before the next is started, in seconds."""
HEADROOM = 1024 * MIB
"""Memory of the machine, in bytes, that sandboxes nobody has asked for yet must leave free."""


@dataclass(frozen=True)
class Kind:
    """What two sandboxes must have in common to be exchanged for each other."""

    image: str
    limits: Limits
    slots: tuple[tuple[str, bool], ...]
    """Where a folder of ours is shown inside, and whether it can be written to there."""


@dataclass
class Ready:
    """A started sandbox and the folders of ours that it shows."""

    box: StreamSandbox
    folder: Path
    warm: bool
    bytes: int


class Pool:
    """A factory that starts sandboxes ahead.

    `ahead` is how many wait at most, `at_once` how many may be in use, `memory_bytes` what those that wait may hold together,
    `preload_of` what the interpreters of an image import meanwhile (by its `preload.json`). Whoever asks for more than
    `at_once` waits for his turn, in the order of asking.
    """

    def __init__(
        self,
        factory: StreamFactory,
        *,
        ahead: int = 2,
        at_once: int = 16,
        memory_bytes: int = WAITING_BYTES,
        preload_of: Callable[[str], Preload | None] = preload,
    ) -> None:
        self.factory = factory
        self.name = factory.name
        self._ahead, self._memory, self._preload_of = ahead, memory_bytes, preload_of
        self._turn = asyncio.Semaphore(at_once)
        self._ready: deque[Ready] = deque()
        self._kind: Kind | None = None
        self._held = 0
        self._closed = False
        self._starter: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._largest = 0
        """Bytes that one of this kind was seen to hold; 0 before the first."""

    def sandbox(self, image: str, limits: Limits, mounts: Sequence[Mount] = ()) -> PooledSandbox:
        """A sandbox that is not yet handed out; `start` does that."""
        return PooledSandbox(self, image, limits, mounts)

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Nothing is started or removed on the side while this holds: for whoever reads a clock."""
        self._held += 1
        try:
            if self._starter is not None:
                await asyncio.wait([self._starter])
            if self._ending:
                await asyncio.wait(self._ending)
            yield
        finally:
            self._held -= 1
            self._refill()

    async def settle(self) -> None:
        """Wait until as many sandboxes wait as should, and those that were used are removed."""
        while (self._starter is not None and not self._starter.done()) or self._ending:
            await asyncio.wait([*self._ending, *([self._starter] if self._starter is not None else [])])

    @property
    def waiting(self) -> int:
        """Sandboxes that are ready and not handed out."""
        return len(self._ready)

    async def close(self) -> None:
        """End every sandbox that waits, and wait for those that are being removed. The pool hands out none after this."""
        self._closed = True
        if self._starter is not None:
            self._starter.cancel()
            await asyncio.wait([self._starter])
        self._drop_ready()
        if self._ending:
            await asyncio.wait(self._ending)

    # -- for PooledSandbox -----------------------------------------------------------------------------------------

    async def take(self, kind: Kind) -> Ready:
        """One sandbox, from those that wait or started now. Waits for its turn. Raises SandboxError."""
        if self._closed:
            raise SandboxError("the pool of sandboxes is closed")
        await self._turn.acquire()
        try:
            if kind != self._kind:
                self._kind, self._largest = kind, 0
                self._drop_ready()
            while self._ready:
                found = self._ready.popleft()
                if await found.box.is_alive(warm=found.warm):
                    return found
                self._end(found)  # Killed from outside while it waited; nobody has lost anything.
            return await self._start(kind, warm=False)
        except BaseException:
            self._turn.release()
            raise
        finally:
            self._refill()

    def give_back(self, used: Ready) -> None:
        """Remove a used sandbox, on the side; its turn ends when it is gone."""
        self._end(used, turn=True)

    # -- starting and ending -----------------------------------------------------------------------------------------

    async def _start(self, kind: Kind, *, warm: bool) -> Ready:
        folder = Path(tempfile.mkdtemp(prefix=lease.folder_prefix()))
        folder.chmod(0o755)
        mounts = []
        for index, (target, writable) in enumerate(kind.slots):
            (folder / str(index)).mkdir(mode=0o755)
            mounts.append(Mount(folder / str(index), target, writable))
        box = self.factory.sandbox(kind.image, kind.limits, mounts)
        ready = Ready(box, folder, False, 0)
        try:
            await box.start()
            wanted = self._preload_of(kind.image) if warm else None
            if wanted is not None:
                await box.warm(wanted)
                ready.warm = True
            ready.bytes = box.resident_bytes()
        except BaseException:
            await asyncio.shield(self._remove(ready))
            raise
        return ready

    def _refill(self) -> None:
        """See to it that sandboxes are being started, unless there are enough or somebody wants quiet."""
        busy = self._starter is not None and not self._starter.done()
        if not (busy or self._closed or self._held or self._kind is None):
            self._starter = asyncio.get_running_loop().create_task(self._start_ahead())

    async def _start_ahead(self) -> None:
        """Start one after the other, and not at once: whoever was just given one needs the processors more."""
        await asyncio.sleep(GRACE_S)
        while not self._held and len(self._ready) < self._ahead and self._fits():
            kind = self._kind
            assert kind is not None
            try:
                made = await self._start(kind, warm=True)
            except SandboxError:
                return  # Whoever asks next starts one himself, and hears why it can't be done.
            self._largest = max(self._largest, made.bytes)
            if self._closed or kind != self._kind:
                self._end(made)
            else:
                self._ready.append(made)

    def _fits(self) -> bool:
        """True when one more, taken to be as large as the largest so far, stays within the bounds on memory."""
        held = sum(ready.bytes for ready in self._ready)
        return held + self._largest <= self._memory and psutil.virtual_memory().available > HEADROOM + 2 * self._largest

    def _drop_ready(self) -> None:
        while self._ready:
            self._end(self._ready.pop())

    def _end(self, ready: Ready, *, turn: bool = False) -> None:
        task = asyncio.get_running_loop().create_task(self._remove(ready))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        if turn:
            task.add_done_callback(lambda _: self._turn.release())

    async def _remove(self, ready: Ready) -> None:
        await ready.box.close()
        shutil.rmtree(ready.folder, ignore_errors=True)


class PooledSandbox(Sandbox):
    """A sandbox of a pool; what it does, it does through one of the backend's. See `Sandbox`."""

    def __init__(self, pool: Pool, image: str, limits: Limits, mounts: Sequence[Mount]) -> None:
        self._pool, self._mounts = pool, mounts
        self._kind = Kind(image, limits, tuple((mount.target, mount.writable) for mount in mounts))
        self._ready: Ready | None = None
        self.backend = pool.name

    async def start(self) -> None:
        """Take one from the pool, and show in its folders what the mounts hold."""
        self._ready = await self._pool.take(self._kind)
        self.image_digest = self._ready.box.image_digest
        for index, mount in enumerate(self._mounts):
            # A second name of the same socket or file; a mount can't be added to what runs already.
            for file in mount.source.iterdir():
                os.link(file, self._ready.folder / str(index) / file.name)

    async def exec(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, wall_s: float | None = None
    ) -> ExecResult:
        """See `Sandbox.exec`."""
        return await self._box.exec(argv, env=env, wall_s=wall_s)

    async def put(self, path: str, data: bytes) -> None:
        """See `Sandbox.put`."""
        await self._box.put(path, data)

    async def get(self, path: str, *, max_bytes: int) -> bytes:
        """See `Sandbox.get`."""
        return await self._box.get(path, max_bytes=max_bytes)

    async def close(self) -> None:
        """End it. The pool removes it while others run already."""
        used, self._ready = self._ready, None
        if used is not None:
            self._pool.give_back(used)

    @property
    def _box(self) -> StreamSandbox:
        if self._ready is None:
            raise SandboxError("sandbox is not running")
        return self._ready.box
