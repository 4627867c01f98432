"""The controller's end of the wire, fed with what a hostile supervisor could send."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.base import FileRefused, Limits, SandboxDied
from sandboxes.stream import StreamSandbox, Wire


class Script:
    """A wire whose other end is a list of bytes."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step = data, step

    async def read(self, count: int) -> bytes:
        part, self.data = self.data[: min(count, self.step)], self.data[min(count, self.step) :]
        return part

    async def write(self, data: bytes | memoryview) -> None:
        return None


class Scripted(StreamSandbox):
    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(Limits(output_bytes=100))
        self._wire = Script(data, step)

    async def open_wire(self) -> Wire:
        assert self._wire is not None
        return self._wire

    async def oom_kills(self) -> int:
        return 0

    def resident_bytes(self) -> int:
        return 0

    async def close(self) -> None:
        return None


@given(st.binary(max_size=300), st.integers(1, 50))
def test_arbitrary_bytes_never_break_us(data: bytes, step: int) -> None:
    with pytest.raises((SandboxDied, FileRefused)):
        # No prefix of random bytes is a JSON object with a valid "size", so this can't succeed by accident.
        asyncio.run(Scripted(b"\x00" + data, step).get("/scratch/x", max_bytes=100))


@given(st.binary(max_size=100), st.integers(1, 50))
def test_payload_arrives_whole_in_any_pieces(payload: bytes, step: int) -> None:
    data = json.dumps({"error": None, "size": len(payload)}).encode() + b"\n" + payload
    assert asyncio.run(Scripted(data, step).get("/scratch/x", max_bytes=100)) == payload


@pytest.mark.parametrize("size", [-1, 101, 10**30, True, "7", None, 1.5])
def test_impossible_sizes_are_refused(size: object) -> None:
    data = json.dumps({"error": None, "size": size}).encode() + b"\n" + b"x" * 200
    with pytest.raises(SandboxDied, match="impossible size"):
        asyncio.run(Scripted(data, 50).get("/scratch/x", max_bytes=100))


def test_an_endless_header_is_cut_off() -> None:
    with pytest.raises(SandboxDied, match="not our protocol"):
        asyncio.run(Scripted(b"x" * 200_000, 5000).get("/scratch/x", max_bytes=100))
