"""The loop of a peer's driver: one request a line on stdin, one answer a line on stdout, both JSON.

It runs in the peers' environment, so it needs the standard library only. `driver.py` is the other end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any, Generic, TypeVar

from benchmarks.overhead.workload import MEGABYTE

Box = TypeVar("Box")
STEPS = ["start", "put", "run", "get", "remove"]


class Peer(ABC, Generic[Box]):
    """A peer's own Docker path, each step through the methods that it offers its users."""

    async def prepare(self) -> dict[str, str]:
        """What its users pay once and not per candidate. Returns facts worth a place beside the figures."""
        return {}

    @abstractmethod
    async def start(self) -> Box:
        """A fresh sandbox."""

    @abstractmethod
    async def put(self, box: Box, data: bytes) -> None:
        """Write the input."""

    @abstractmethod
    async def run(self, box: Box, argv: list[str]) -> None:
        """Run a program to its end, in the input's folder. Raises unless it succeeded."""

    @abstractmethod
    async def get(self, box: Box) -> bytes:
        """Read the output."""

    @abstractmethod
    async def remove(self, box: Box) -> None:
        """End the sandbox and remove it."""

    async def finish(self) -> None:
        """Undo `prepare`."""


async def round_trip(peer: Peer[Any], program: str) -> dict[str, Any]:
    """One candidate in a fresh sandbox. Seconds in all and by step."""
    marks = [time.perf_counter()]
    box = await peer.start()
    try:
        marks.append(time.perf_counter())
        await peer.put(box, MEGABYTE)
        marks.append(time.perf_counter())
        await peer.run(box, ["python3", "-c", program])
        marks.append(time.perf_counter())
        answer = await peer.get(box)
        marks.append(time.perf_counter())
    finally:
        await peer.remove(box)
    marks.append(time.perf_counter())
    if answer != MEGABYTE:
        raise ValueError(f"the output that came back is not the input ({len(answer)} bytes)")
    steps = {name: after - before for name, (before, after) in zip(STEPS, pairwise(marks), strict=True)}
    return {"seconds": marks[-1] - marks[0], "steps": steps}


async def timed_exec(peer: Peer[Any], box: Any) -> dict[str, Any]:
    """Seconds of running `true` in a sandbox that is already there."""
    before = time.perf_counter()
    await peer.run(box, ["true"])
    return {"seconds": time.perf_counter() - before}


async def answer_requests(peer: Peer[Any]) -> None:
    """Say that the peer is ready, then answer until stdin ends. An error is an answer too.

    `round_trip` takes a fresh sandbox; `exec` uses one that is started the first time and kept to the end.
    """
    # A peer may print what it likes: its words go to stderr, and only answers to stdout.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    kept: Any = None
    try:
        print(json.dumps({"facts": await peer.prepare()}), file=answers)
        while line := await asyncio.to_thread(sys.stdin.readline):
            request = json.loads(line)
            try:
                if request["do"] == "exec":
                    kept = kept or await peer.start()
                    answer = await timed_exec(peer, kept)
                else:
                    answer = await round_trip(peer, request["program"])
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), file=answers)
    finally:
        if kept is not None:
            await peer.remove(kept)
        await peer.finish()


def serve(peer: Peer[Any]) -> None:
    """Run the loop to the end of stdin."""
    asyncio.run(answer_requests(peer))
