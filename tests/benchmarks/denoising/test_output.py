"""What untrusted code may hand in as a prediction, and everything that it may not."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.denoising.output import BadOutput, max_bytes, parse_prediction

SHAPE = (2, 3)
GOOD = np.arange(6, dtype=np.float32).reshape(SHAPE)


def npy(array, **kwargs) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **kwargs)
    return file.getvalue()


def with_header(header: str, body: bytes = bytes(24)) -> bytes:
    text = header.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_numpy_saves_is_read(dtype, version):
    raw = npy(GOOD.astype(dtype), version=version)
    assert len(raw) <= max_bytes(SHAPE)
    assert (parse_prediction(raw, SHAPE, 10.0) == GOOD).all()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not a .npy"),
        (b"\x93NUMPY", "not a .npy"),
        (b"PK\x03\x04" + bytes(60), "not a .npy"),
        (npy(GOOD)[:-1], "bytes of data"),
        (npy(GOOD) + b"\0", "bytes of data"),
        (npy(GOOD.T.copy()), "shape"),
        (npy(GOOD[:1]), "shape"),
        (npy(np.asfortranarray(GOOD)), "C order"),
        (npy(GOOD.astype(">f4")), "float32 or float64"),
        (npy(GOOD.astype(np.float16)), "float32 or float64"),
        (npy(GOOD.astype(np.complex64)), "float32 or float64"),
        (npy(GOOD.astype(np.int32)), "float32 or float64"),
        (npy(GOOD.astype(object), allow_pickle=True), "float32 or float64"),
        (npy(np.zeros(2, dtype=[("a", "<f4"), ("b", "<f4")])), "float32 or float64"),
        (npy(np.where(GOOD == 2, np.nan, GOOD)), "not finite"),
        (npy(np.where(GOOD == 2, np.inf, GOOD)), "not finite"),
        (npy(-GOOD), "negative"),
        (npy(GOOD * 100), "above the sum"),
        (npy(GOOD, version=(3, 0)), "version"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + bytes(60), "header is longer"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 10**9)}"), "does not parse"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (True + 1, 3)}"), "does not parse"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2.0, 3)}"), "shape"),
        (with_header("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}"), "C order"),
        (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}"), "three standard keys"),
        (with_header("[1, 2]"), "three standard keys"),
        (with_header("__import__('os').getcwd()"), "does not parse"),
        (with_header("(" * 900), "does not parse"),
        (with_header("{'descr': '\xe9'}"), "does not parse"),
    ],
)
def test_everything_else_is_refused_with_a_reason(raw, why):
    with pytest.raises(BadOutput, match=why):
        parse_prediction(raw, SHAPE, 10.0)


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(tail):
    for raw in (tail, b"\x93NUMPY\x01\x00" + tail, npy(GOOD)[:60] + tail):
        with pytest.raises(BadOutput):
            parse_prediction(raw, SHAPE, 10.0)
