"""Where kernels run: what the clock needs of a CPU or of a GPU, and nothing else.

`memory.Host` and `cuda.Cuda` have this form. Everything above them is one code path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from benchmarks.kernels.problem import Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.kernels.roofline import Roofline


class Inputs(Protocol):
    """Memory that one candidate may read, with the data of one block after the other."""

    handle: int
    """File descriptor that the candidate maps."""

    def load(self, slots: Sequence[Tensors], specs: tuple[TensorSpec, ...]) -> None:
        """Take the next block's data, one tensor for every slot and spec. Raises ValueError when one is not as its spec."""
        ...

    def fill(self) -> None:
        """Write the data; until then the last block's are there, or nothing."""
        ...

    def unchanged(self) -> bool:
        """False when somebody wrote to it."""
        ...

    def close(self) -> None:
        """Let go of the memory."""
        ...


class Outputs(Protocol):
    """Memory that one candidate writes, block after block."""

    handle: int

    def lay_out(self, specs: tuple[TensorSpec, ...], slots: int) -> None:
        """Make room for the next block, poisoned."""
        ...

    def poison(self) -> None:
        """Overwrite everything with what can't be an answer."""
        ...

    def glance(self, start: int) -> Tensor:
        """A copy of about a thousand words, one every so many from `start` on: quick, for the instant of "done".

        Where a candidate puts off more than one part in a thousand, the words that are not there yet are among these.
        """
        ...

    def read(self) -> None:
        """Copy everything to where no candidate reaches. Call it once."""
        ...

    def strayed(self) -> bool:
        """True when the memory behind this block's outputs was used, which no tensor handed over reaches."""
        ...

    def glance_of_copy(self, start: int) -> Tensor:
        """The same words as `glance(start)`, of what `read` copied."""
        ...

    def started(self, slots: Sequence[int]) -> list[bool]:
        """For each of these slots, in rising order, whether one element in the middle of its last tensor is no longer poison.

        Read from the last slot to the first: where slots are worked on in order, none is then seen begun after one that isn't.
        """
        ...

    def slots(self) -> list[Tensors]:
        """The copied tensors of every slot by name."""
        ...

    def close(self) -> None:
        """Let go of the memory."""
        ...


class Target(Protocol):
    """One device."""

    name: Device

    lasting: bool
    """Whether a program keeps its memory from block to block. Where memory is scarce (a GPU) it gets new memory each time."""

    @property
    def cores(self) -> tuple[int, ...]:
        """CPU cores that programs may run on: one of more threads than another is not quicker for that. Empty: any."""
        ...

    block_bytes: int
    """Most bytes of inputs and outputs of a block of several launches: much more than the caches hold, and so much
    that moving them takes longer than the protocol does."""

    def inputs(self, size: int) -> Inputs:
        """Memory of that many bytes."""
        ...

    def outputs(self, size: int) -> Outputs:
        """Memory of that many bytes."""
        ...

    def settle(self) -> tuple[float, float]:
        """Wait until nobody works on the device and its caches hold nothing of use, but not for ever.

        Returns how much slower than at its best a probe of ours was, at first and at last: 0.0 is idle, 1.0 means that half
        of the device was somebody else's. Both are 0.0 where another mechanism watches (CPU: `idle`).
        """
        ...

    def state(self) -> dict[str, float]:
        """Clocks, temperature and throttling now, by name with unit; read, never set. Empty where none can be read."""
        ...

    def roofline(self, narrowest: str) -> Roofline:
        """Rates of this device, nothing measured yet; `narrowest` is the dtype that the task's tolerance allows."""
        ...

    def guest_files(self) -> tuple[str, ...]:
        """Names of files of this folder that the guest needs beside `guest.py` and `protocol.py`."""
        ...
