"""The memory that one program has on loan: for the whole run where it can be, or for a block at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.kernels.problem import Tensors
from benchmarks.kernels.protocol import TensorSpec, placement
from benchmarks.kernels.target import Inputs, Outputs, Target

Room = tuple[int, int]
"""Bytes for inputs and for outputs."""
NO_ROOM: Room = (1, 1)


class Lending:
    """Inputs and outputs of one program, with room for its largest block where that is known from the start."""

    def __init__(self, target: Target, room: Room = NO_ROOM) -> None:
        self._target = target
        self._pair: tuple[Inputs, Outputs] | None = None
        self.room = room

    @contextmanager
    def block(
        self, slots: Sequence[Tensors], inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> Iterator[tuple[Inputs, Outputs, list[int]]]:
        """Memories for a block, nothing written yet, and the descriptors that the program doesn't have so far.

        Raises ValueError when a tensor is not as its spec.
        """
        needed = placement(inputs, len(slots))[1], placement(outputs, len(slots))[1]
        handles: list[int] = []
        if self._pair is None or any(more > have for more, have in zip(needed, self.room, strict=True)):
            self.close()
            if self._target.lasting:
                needed = max(needed[0], self.room[0]), max(needed[1], self.room[1])
            given = self._target.inputs(needed[0])
            try:
                taken = self._target.outputs(needed[1])
            except BaseException:
                given.close()
                raise
            self._pair, self.room = (given, taken), needed
            handles = [given.handle, taken.handle]
        given, taken = self._pair
        try:
            given.load(slots, inputs)
            taken.lay_out(outputs, len(slots))
            yield given, taken, handles
        finally:
            if not self._target.lasting:
                self.close()

    def close(self) -> None:
        """Let go of both."""
        if self._pair is not None:
            for memory in self._pair:
                memory.close()
        self._pair = None
