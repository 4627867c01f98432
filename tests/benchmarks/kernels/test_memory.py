"""Seals: inputs that nobody can write, outputs that nobody can shrink, and poison in between."""

import mmap
import os

import numpy as np
import pytest

from benchmarks.kernels.memory import OutputMemory, input_memory
from benchmarks.kernels.protocol import TensorSpec, placement

SPECS = (TensorSpec("x", (3, 5)), TensorSpec("weights.w", (7,)))


@pytest.fixture
def given_slots():
    rng = np.random.default_rng(0)
    return [{s.name: rng.standard_normal(s.shape, dtype=np.float32) for s in SPECS} for _ in range(2)]


def test_inputs_arrive_where_the_placement_says(given_slots):
    handle = input_memory(given_slots, SPECS)
    offsets, _ = placement(SPECS, 2)
    for slot, places in zip(given_slots, offsets, strict=True):
        for spec in SPECS:
            data = os.pread(handle, spec.bytes, places[spec.name])
            np.testing.assert_array_equal(np.frombuffer(data, np.float32).reshape(spec.shape), slot[spec.name])
    os.close(handle)


def test_inputs_cannot_be_written_mapped_writable_or_resized(given_slots):
    handle = input_memory(given_slots, SPECS)
    with pytest.raises(PermissionError):
        os.pwrite(handle, b"0000", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(handle, 0)
    with pytest.raises(PermissionError):
        mmap.mmap(handle, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    # A new descriptor of the same memory is no way round.
    again = os.open(f"/proc/self/fd/{handle}", os.O_RDWR)
    with pytest.raises(PermissionError):
        os.pwrite(again, b"0000", 0)
    os.close(again)
    os.close(handle)


def test_inputs_of_another_shape_are_refused(given_slots):
    given_slots[0]["x"] = np.zeros((5, 3), np.float32)
    with pytest.raises(ValueError, match="x has shape"):
        input_memory(given_slots, SPECS)


def test_outputs_start_as_poison_and_cannot_be_shrunk():
    with OutputMemory(SPECS, 1) as memory:
        with pytest.raises(PermissionError):
            os.ftruncate(memory.handle, 0)
        assert all(np.isnan(array).all() for array in memory.slots(memory.read())[0].values())


def test_what_was_read_stays_when_the_memory_changes():
    with OutputMemory(SPECS, 1) as memory:
        os.pwrite(memory.handle, np.float32(1.5).tobytes(), 0)
        before = memory.slots(memory.read())[0]["x"]
        os.pwrite(memory.handle, np.float32(9.0).tobytes(), 0)
        assert before[0, 0] == 1.5
        assert memory.sample(0, 1000)[0] == 9.0
