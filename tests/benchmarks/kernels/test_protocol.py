"""The wire between evaluator and guest: what is written can be read back, and nothing else can."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kernels.protocol import (
    ALIGNMENT,
    ITEM_BYTES,
    SLOT_ALIGNMENT,
    ProtocolError,
    Run,
    TensorSpec,
    decode_done,
    decode_run,
    done,
    encode_run,
    placement,
)

names = st.text("abcdefgh_.", min_size=1, max_size=20)
shapes = st.lists(st.integers(1, 9), max_size=4).map(tuple)
specs = st.lists(
    st.builds(TensorSpec, names, shapes, st.sampled_from(sorted(ITEM_BYTES))), max_size=6, unique_by=lambda s: s.name
).map(tuple)
runs = st.builds(Run, st.integers(0, 2**40), st.integers(1, 5), specs, specs, st.tuples(*[st.integers(1, 2**40)] * 2))


@given(runs)
def test_a_request_survives_the_wire(run):
    assert decode_run(encode_run(run)) == run


@given(st.binary(max_size=300))
def test_noise_is_refused_and_never_raises_anything_else(line):
    with pytest.raises(ProtocolError):
        decode_run(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4)
)


@given(st.fixed_dictionaries(dict.fromkeys(("sequence", "slots", "inputs", "outputs", "room"), json_values)))
def test_well_formed_json_of_other_types_is_refused(fields):
    try:
        run = decode_run(json.dumps(fields).encode())
    except ProtocolError:
        return
    assert isinstance(run.slots, int)
    assert run.slots >= 1


@given(specs, st.integers(1, 4))
def test_tensors_are_aligned_and_do_not_overlap(tensors, slots):
    offsets, size = placement(tensors, slots)
    spans = sorted((slot[s.name], slot[s.name] + s.bytes) for slot in offsets for s in tensors)
    assert all(start % ALIGNMENT == 0 for start, _ in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert size % SLOT_ALIGNMENT == 0
    assert all(end <= size for _, end in spans)


def test_a_request_longer_than_the_guest_reads_is_our_mistake():
    many = tuple(TensorSpec(f"tensor{i}", (1, 2, 3)) for i in range(5000))
    with pytest.raises(ProtocolError, match="more than"):
        encode_run(Run(1, 1, many, (), (1, 1)))


@given(st.integers(0, 2**40), st.integers(0, 10**18 - 1))
def test_a_reply_survives_the_wire(sequence, nanoseconds):
    assert decode_done(done(sequence, nanoseconds), sequence) == nanoseconds


@given(st.binary(max_size=40) | st.builds(done, st.integers(0, 9), st.integers(-5, 5)))
def test_a_reply_to_another_run_or_of_another_form_is_refused(line):
    if line in {done(3, n) for n in range(6)}:
        return
    with pytest.raises(ProtocolError):
        decode_done(line, 3)
