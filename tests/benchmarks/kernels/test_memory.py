"""Seals: inputs that nobody can write, outputs that nobody can shrink, and poison in between."""

import ctypes
import mmap
import os
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from benchmarks.kernels.memory import Host, HostInputs, HostOutputs
from benchmarks.kernels.protocol import ITEM_BYTES, TensorSpec, placement

SPECS = (TensorSpec("x", (3, 5)), TensorSpec("weights.w", (7,), "bfloat16"), TensorSpec("ids", (3,), "int64"))


@contextmanager
def inputs(slots):
    memory = HostInputs(placement(SPECS, len(slots))[1])
    try:
        memory.load(slots, SPECS)
        yield memory
    finally:
        memory.close()


@contextmanager
def outputs(specs, slots):
    memory = Host().outputs(placement(specs, slots)[1])
    try:
        memory.lay_out(specs, slots)
        yield memory
    finally:
        memory.close()


@pytest.fixture
def given_slots():
    rng = torch.Generator().manual_seed(0)
    return [
        {s.name: torch.randint(-9, 9, s.shape, generator=rng).to(getattr(torch, s.dtype)) for s in SPECS}
        for _ in range(2)
    ]


def test_inputs_arrive_where_the_placement_says(given_slots):
    with inputs(given_slots) as given:
        assert not any(os.pread(given.handle, 4096, 0))
        given.fill()
        offsets, _ = placement(SPECS, 2)
        for slot, places in zip(given_slots, offsets, strict=True):
            for spec in SPECS:
                data = bytearray(os.pread(given.handle, spec.bytes, places[spec.name]))
                arrived = torch.frombuffer(data, dtype=getattr(torch, spec.dtype)).view(spec.shape)
                assert torch.equal(arrived, slot[spec.name])


def test_inputs_cannot_be_written_mapped_writable_or_resized(given_slots):
    with inputs(given_slots) as given:
        with pytest.raises(PermissionError):
            os.pwrite(given.handle, b"0000", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(given.handle, 0)
        with pytest.raises(PermissionError):
            mmap.mmap(given.handle, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        # A new descriptor of the same memory is no way round.
        again = os.open(f"/proc/self/fd/{given.handle}", os.O_RDWR)
        with pytest.raises(PermissionError):
            os.pwrite(again, b"0000", 0)
        os.close(again)
        # A map that was made for reading doesn't become one for writing.
        mapped = mmap.mmap(given.handle, 4096, prot=mmap.PROT_READ)
        start = np.frombuffer(mapped, np.uint8).ctypes.data
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start), 4096, mmap.PROT_READ | mmap.PROT_WRITE) == -1


def test_inputs_that_are_not_as_their_spec_are_refused(given_slots):
    kept = given_slots[0]["x"]
    given_slots[0]["x"] = torch.zeros(5, 3)
    with pytest.raises(ValueError, match="x has shape"), inputs(given_slots):
        pass
    given_slots[0]["x"] = kept.double()
    with pytest.raises(ValueError, match="x has dtype"), inputs(given_slots):
        pass


@pytest.mark.parametrize("dtype", ITEM_BYTES)
def test_outputs_start_as_poison_in_every_dtype(dtype):
    spec = TensorSpec("out", (5, 3), dtype)
    assert spec.bytes == torch.empty(spec.shape, dtype=getattr(torch, dtype)).nbytes
    with outputs((spec,), 2) as memory:
        memory.read()
        for slot in memory.slots():
            got = slot["out"]
            assert str(got.dtype) == f"torch.{dtype}"
            assert got.isnan().all() if got.is_floating_point() else (got == torch.iinfo(got.dtype).min).all()
        assert memory.started([0, 1]) == [False, False]


def test_what_a_candidate_wrote_before_its_time_is_poisoned_again():
    with outputs(SPECS, 1) as memory:
        os.pwrite(memory.handle, bytes(60), 0)
        memory.poison()
        memory.read()
        assert memory.slots()[0]["x"].isnan().all()


def test_outputs_cannot_be_shrunk():
    with outputs(SPECS, 1) as memory, pytest.raises(PermissionError):
        os.ftruncate(memory.handle, 0)


def test_what_was_read_stays_when_the_memory_changes():
    with outputs(SPECS, 1) as memory:
        os.pwrite(memory.handle, np.float32(1.5).tobytes(), 0)
        memory.read()
        before = memory.slots()[0]["x"]
        os.pwrite(memory.handle, np.float32(9.0).tobytes(), 0)
        assert before[0, 0] == 1.5


def test_a_late_write_shows_as_a_glance_that_is_not_the_copy():
    spec = TensorSpec("out", (100_000,))
    with outputs((spec,), 1) as memory:
        os.pwrite(memory.handle, bytes(spec.bytes), 0)
        glance = memory.glance(123_456_789)
        memory.read()
        assert torch.equal(glance, memory.glance_of_copy(123_456_789))
        glance = memory.glance(123_456_789)
        # One part in a hundred comes late.
        os.pwrite(memory.handle, b"\1" * (spec.bytes // 100), spec.bytes // 2)
        memory.read()
        assert not torch.equal(glance, memory.glance_of_copy(123_456_789))


def test_slots_that_were_begun_can_be_told_from_those_that_were_not():
    spec = TensorSpec("out", (1000,))
    with outputs((spec,), 3) as memory:
        offsets, _ = placement((spec,), 3)
        os.pwrite(memory.handle, bytes(spec.bytes), offsets[1]["out"])
        assert memory.started([0, 1, 2]) == [False, True, False]
        assert memory.started([1]) == [True]
        assert memory.started([0, 2]) == [False, False]


def test_a_block_finds_nothing_of_the_last_one_in_its_outputs():
    spec, smaller = TensorSpec("out", (1000,)), TensorSpec("out", (10,), "int32")
    memory = HostOutputs(placement((spec,), 3)[1])
    for specs, slots in (((spec,), 3), ((smaller,), 2), ((spec,), 3)):
        memory.lay_out(specs, slots)
        os.pwrite(memory.handle, bytes(memory.size), 0)
        memory.poison()
        assert memory.started(range(slots)) == [False] * slots
        memory.read()
        for slot in memory.slots():
            got = slot["out"]
            assert got.isnan().all() if got.is_floating_point() else (got == torch.iinfo(got.dtype).min).all()
    memory.close()


def test_holes_cannot_be_punched_into_inputs(given_slots):
    # Neither would they be, if a block's data were to be written again: the map that writes is ours alone.
    keep_size, punch_hole = 1, 2
    with inputs(given_slots) as given:
        given.fill()
        before = os.pread(given.handle, given.size, 0)
        hole = ctypes.CDLL(None, use_errno=True).fallocate
        assert hole(given.handle, keep_size | punch_hole, ctypes.c_long(0), ctypes.c_long(given.size)) == -1
        assert os.pread(given.handle, given.size, 0) == before
