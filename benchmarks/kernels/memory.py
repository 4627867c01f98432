"""Memory that the evaluator owns and a candidate may touch only as far as the evaluator says.

Both kinds are anonymous files (`memfd_create`) whose descriptors travel with the request, so a candidate has no path to
unlink or replace, and sees no input before the clock runs. Seals do the rest, and no process can lift a seal:
inputs can't be written by anyone, and outputs can't change size (a file that shrinks under a map ends the
reader with SIGBUS).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from benchmarks.kernels.protocol import TensorSpec, placement

Array = npt.NDArray[np.float32]
POISON = np.float32(np.nan)
"""What an output holds before the kernel runs. NaN never passes a check, so memory left alone is a wrong answer."""


def input_memory(slots: Sequence[Mapping[str, Array]], specs: tuple[TensorSpec, ...]) -> int:
    """A sealed, unwritable anonymous file with one array for every slot and spec. The caller closes the descriptor.

    Raises ValueError when an array has not the shape its spec says.
    """
    offsets, size = placement(specs, len(slots))
    handle = os.memfd_create("ratchet-inputs", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(handle, size)
        for arrays, places in zip(slots, offsets, strict=True):
            for spec in specs:
                array = np.ascontiguousarray(arrays[spec.name], dtype=np.float32)
                if array.shape != spec.shape:
                    raise ValueError(f"{spec.name} has shape {array.shape}, not {spec.shape}")
                _write_all(handle, array, places[spec.name])
        fcntl.fcntl(
            handle,
            fcntl.F_ADD_SEALS,
            fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL,
        )
    except BaseException:
        os.close(handle)
        raise
    return handle


def _write_all(handle: int, array: Array, offset: int) -> None:
    data = memoryview(array.data).cast("B")
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


class OutputMemory:
    """Poisoned output slots. The candidate writes them through its own map of `handle`; we read them here."""

    def __init__(self, specs: tuple[TensorSpec, ...], slots: int) -> None:
        self._specs = specs
        self._offsets, size = placement(specs, slots)
        self.handle = os.memfd_create("ratchet-outputs", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.handle, size)
        fcntl.fcntl(self.handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self._map = mmap.mmap(self.handle, size)
        self._all: Array = np.frombuffer(self._map, dtype=np.float32)
        self._all[:] = POISON
        # Touched here, so that reading back costs a copy and no page faults.
        self._copy: Array = np.zeros_like(self._all)
        self._copy[:] = 0

    def sample(self, start: int, stride: int) -> Array:
        """A copy of every `stride`-th element from `start` on, quick enough to be taken at the instant of "done"."""
        return self._all[start::stride].copy()

    def read(self) -> Array:
        """Copy the whole memory: from here on, nothing a candidate does can change what is checked. Call it once."""
        np.copyto(self._copy, self._all)
        return self._copy

    def slots(self, copy: Array) -> list[dict[str, Array]]:
        """The tensors of every slot by name, as views of a copy made by `read`."""
        return [
            {s.name: copy[places[s.name] // 4 : places[s.name] // 4 + s.items].reshape(s.shape) for s in self._specs}
            for places in self._offsets
        ]

    def close(self) -> None:
        """Let go of the memory; a candidate that kept its own map keeps only that."""
        self._all = np.empty(0, dtype=np.float32)
        self._map.close()
        os.close(self.handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
