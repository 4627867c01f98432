"""Memory that the evaluator owns and a candidate may touch only as far as the evaluator says: on a CPU.

Both kinds are anonymous files (`memfd_create`) whose descriptors travel over the socket, so a candidate has no path to
unlink or replace. They are empty when it gets them, and are filled while it is frozen. Seals do the rest, and no process can
lift a seal: inputs can't be written by anyone but through the map that we made first, and outputs can't change size (a file that
shrinks under a map ends the reader with SIGBUS). The same on a GPU is `cuda.py`.

A program keeps its memory for the whole run and gets other data in it for each block. With new memory for each block every page
was touched for the first time while the clock ran, which made a softmax of 32 MB take twice as long as in a process of its own.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.kernels import cores
from benchmarks.kernels.problem import Device, Tensors
from benchmarks.kernels.protocol import TensorSpec, placement
from benchmarks.kernels.roofline import Roofline

Bytes = npt.NDArray[np.uint8]
THREADS = 2
"""Of a candidate, and of our measurement of the machine."""
F_SEAL_FUTURE_WRITE = 0x0010
"""Linux 5.1: nobody can write or map for writing from now on; maps that are there already stay as they are."""
GLANCE = 1024
"""Words looked at in the instant of "done"; outputs that change after it have been worked on out of time."""

GUARD, PATTERN = 64 * 1024, 0xA5
"""Bytes behind a block's outputs that are watched, and what they hold."""


def poison(dtype: torch.dtype) -> float:
    """What an output holds before the kernel runs: NaN, which passes no check, or the least value of an integer dtype.

    The least integer can be a right answer for single elements (int8), never for a whole output of a task here.
    """
    return float("nan") if dtype.is_floating_point else torch.iinfo(dtype).min


def view(memory: Tensor, spec: TensorSpec, offset: int) -> Tensor:
    """The tensor of a spec at an offset in a vector of bytes, without a copy."""
    return memory[offset : offset + spec.bytes].view(getattr(torch, spec.dtype)).view(spec.shape)


def checked(tensor: Tensor, spec: TensorSpec) -> Tensor:
    """The tensor, contiguous. Raises ValueError when its shape or dtype is not the spec's."""
    if tuple(tensor.shape) != spec.shape:
        raise ValueError(f"{spec.name} has shape {tuple(tensor.shape)}, not {spec.shape}")
    if tensor.dtype != getattr(torch, spec.dtype):
        raise ValueError(f"{spec.name} has dtype {tensor.dtype}, not {spec.dtype}")
    return tensor.contiguous()


class HostMemory:
    """An anonymous file of `size` bytes and our map of it. Pages come into being when a block first needs them."""

    def __init__(self, name: str, size: int, seals: int) -> None:
        self.size = size
        self.handle = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.handle, size)
            self._map = mmap.mmap(self.handle, size)
            seals |= fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.handle, fcntl.F_ADD_SEALS, seals)
        except BaseException:
            os.close(self.handle)
            raise
        self._touched = 0

    def use(self, size: int) -> Bytes:
        """The first `size` bytes. What was never used is touched here first, so that its pages are ours and not the sandbox's."""
        memory = np.frombuffer(self._map, dtype=np.uint8, count=size)
        memory[self._touched :] = 0
        self._touched = max(self._touched, size)
        return memory

    def close(self) -> None:
        """Let go of the memory; a candidate that kept its own map keeps only that."""
        self._map.close()
        os.close(self.handle)


class HostInputs(HostMemory):
    """One tensor for every slot and spec, sealed against every write but through our own map."""

    def __init__(self, size: int) -> None:
        super().__init__("ratchet-inputs", size, F_SEAL_FUTURE_WRITE)
        self._places: list[tuple[Tensor, TensorSpec, int]] = []

    def load(self, slots: Sequence[Tensors], specs: tuple[TensorSpec, ...]) -> None:
        """See `target.Inputs`."""
        offsets, size = placement(specs, len(slots))
        self._places = [
            (checked(tensors[spec.name], spec), spec, places[spec.name])
            for tensors, places in zip(slots, offsets, strict=True)
            for spec in specs
        ]
        self.use(size)

    def fill(self) -> None:
        """See `target.Inputs`."""
        memory = torch.from_numpy(np.frombuffer(self._map, dtype=np.uint8))
        for tensor, spec, place in self._places:
            view(memory, spec, place).copy_(tensor)

    def unchanged(self) -> bool:
        """The seal saw to it."""
        return True

    def close(self) -> None:
        """See `HostMemory.close`."""
        self._places = []
        super().close()


class HostOutputs(HostMemory):
    """Output slots. The candidate writes them through its own map of `handle`; we read them here."""

    def __init__(self, size: int) -> None:
        super().__init__("ratchet-outputs", size, 0)

    def lay_out(self, specs: tuple[TensorSpec, ...], slots: int) -> None:
        """See `target.Outputs`."""
        self._specs = specs
        self._offsets, size = placement(specs, slots)
        self._all = self.use(size)
        self.poison()
        # Behind the outputs lie pages that an earlier block used, and pages that nobody did: a pattern for the former, and for
        # the latter the kernel's own count of what is in use.
        self._behind = np.frombuffer(self._map, dtype=np.uint8)[size : min(size + GUARD, self._touched)]
        self._behind[:] = PATTERN
        self._in_use = os.fstat(self.handle).st_blocks
        last = specs[-1]
        item = last.bytes // last.items
        # Where each slot's last tensor has its middle element, and what that holds as long as nobody wrote it.
        self._middles = [places[last.name] + last.items // 2 * item for places in self._offsets]
        self._item = item
        self._unwritten = bytes(self._all[self._middles[0] : self._middles[0] + item])
        # Touched here, so that reading back costs a copy and no page faults.
        self._copy = np.full_like(self._all, 1)
        self._words = self._all.view(np.uint64)
        self._stride = max(1, self._words.size // GLANCE)

    def poison(self) -> None:
        """See `target.Outputs`."""
        memory = torch.from_numpy(self._all)
        for places in self._offsets:
            for spec in self._specs:
                view(memory, spec, places[spec.name]).fill_(poison(getattr(torch, spec.dtype)))

    def glance(self, start: int) -> Tensor:
        """See `target.Outputs`."""
        return torch.from_numpy(self._words[start % self._stride :: self._stride].copy())

    def read(self) -> None:
        """See `target.Outputs`. From here on, nothing a candidate does can change what is checked."""
        np.copyto(self._copy, self._all)

    def strayed(self) -> bool:
        """See `target.Outputs`."""
        return bool((self._behind != PATTERN).any()) or os.fstat(self.handle).st_blocks > self._in_use

    def glance_of_copy(self, start: int) -> Tensor:
        """See `target.Outputs`."""
        return torch.from_numpy(self._copy.view(np.uint64)[start % self._stride :: self._stride].copy())

    def started(self, slots: Sequence[int]) -> list[bool]:
        """See `target.Outputs`."""
        middles = [self._middles[slot] for slot in reversed(slots)]
        return [self._map[at : at + self._item] != self._unwritten for at in middles][::-1]

    def slots(self) -> list[Tensors]:
        """See `target.Outputs`; views of the copy."""
        copy = torch.from_numpy(self._copy)
        return [{s.name: view(copy, s, places[s.name]) for s in self._specs} for places in self._offsets]

    def close(self) -> None:
        """See `HostMemory.close`."""
        self._all = self._words = np.empty(0, dtype=np.uint8)
        self._behind = np.empty(0, dtype=np.uint8)
        super().close()


class Host:
    """The CPU as a `target.Target`."""

    name: Device = "cpu"
    lasting = True
    block_bytes = 256 * 1024 * 1024

    @property
    def cores(self) -> tuple[int, ...]:
        """See `target.Target`."""
        return cores.chosen(THREADS)

    def inputs(self, size: int) -> HostInputs:
        """See `target.Target`."""
        return HostInputs(size)

    def outputs(self, size: int) -> HostOutputs:
        """See `target.Target`."""
        return HostOutputs(size)

    def settle(self) -> tuple[float, float]:
        """Other programs are frozen (`idle`), so the cores are ours: see that they are awake, and that we leave them alone."""
        cores.rest()
        cores.rouse(THREADS)
        return 0.0, 0.0

    def state(self) -> dict[str, float]:
        """Nothing that a virtual machine would tell the truth about."""
        return {}

    def roofline(self, narrowest: str) -> Roofline:
        """See `target.Target`."""
        return Roofline(THREADS, narrowest)

    def guest_files(self) -> tuple[str, ...]:
        """The host's memory needs nothing beside the guest."""
        return ()
