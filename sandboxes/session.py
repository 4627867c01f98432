"""The plain (synchronous) face of a sandbox: one event loop in a background thread serves every session.

Scorers read better without `await`, and pytest and the command line are synchronous; the backends stay asynchronous
so that many sandboxes can be served at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from sandboxes.base import ExecResult, Limits, Mount, Sandbox, SandboxFactory
from sandboxes.pool import Pool
from sandboxes.stream import StreamFactory

T = TypeVar("T")


class _Loop:
    """The background event loop, started on first use."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="ratchet-sandboxes", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(work, self._loop)


_LOOP = _Loop()


class Session:
    """A started sandbox, spoken to synchronously. Errors are those of `Sandbox`."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        self.image_digest = box.image_digest
        self.backend = box.backend

    def exec(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, wall_s: float | None = None
    ) -> ExecResult:
        """Run a program to its end; see `Sandbox.exec`."""
        return self.exec_later(argv, env=env, wall_s=wall_s).result()

    def exec_later(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, wall_s: float | None = None
    ) -> Future[ExecResult]:
        """Start a program and return at once. One program at a time in one sandbox."""
        return _LOOP.submit(self._box.exec(argv, env=env, wall_s=wall_s))

    def put(self, path: str, data: bytes) -> None:
        """Write a file below /scratch; see `Sandbox.put`."""
        self.put_later(path, data).result()

    def put_later(self, path: str, data: bytes) -> Future[None]:
        """Start to write a file and return at once."""
        return _LOOP.submit(self._box.put(path, data))

    def get(self, path: str, *, max_bytes: int) -> bytes:
        """Read a regular file of bounded size; see `Sandbox.get`."""
        return _LOOP.submit(self._box.get(path, max_bytes=max_bytes)).result()


@contextmanager
def open_session(
    factory: SandboxFactory, image: str, limits: Limits, mounts: Sequence[Mount] = ()
) -> Iterator[Session]:
    """Start a fresh sandbox and close it at the end, also on Ctrl-C."""
    box = factory.sandbox(image, limits, mounts)
    try:
        _LOOP.submit(box.start()).result()
        yield Session(box)
    finally:
        _LOOP.submit(box.close()).result(timeout=60)


@contextmanager
def pooled(factory: StreamFactory, **bounds: Any) -> Iterator[Pool]:
    """A pool over a backend, closed at the end; the bounds are those of `Pool`."""
    pool = Pool(factory, **bounds)
    try:
        yield pool
    finally:
        _LOOP.submit(pool.close()).result(timeout=120)


def settle(pool: Pool) -> None:
    """Wait until the pool is as full as it gets."""
    _LOOP.submit(pool.settle()).result()


@contextmanager
def quiet(factory: SandboxFactory) -> Iterator[None]:
    """Keep a pool from starting or removing sandboxes on the side; a factory without a pool never does."""
    if not isinstance(factory, Pool):
        yield
        return
    holding = factory.quiet()
    _LOOP.submit(holding.__aenter__()).result()
    try:
        yield
    finally:
        _LOOP.submit(holding.__aexit__(None, None, None)).result()
