"""Parse a prediction that untrusted code wrote: a `.npy` file, read by hand so that nothing in it can surprise us.

`numpy.load` is not used: it evaluates a header of any size and allocates what the header asks for.
"""

from __future__ import annotations

import ast
import math
import struct

import numpy as np
import numpy.typing as npt

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1024
DTYPES: dict[str, np.dtype[np.floating]] = {"<f4": np.dtype("<f4"), "<f8": np.dtype("<f8")}


class BadOutput(ValueError):
    """The output is not a prediction; the message says why, in words that may be shown to the candidate's author."""


def max_bytes(shape: tuple[int, int]) -> int:
    """Size in bytes of the largest file that can hold a prediction of this shape."""
    return len(MAGIC) + 6 + MAX_HEADER_BYTES + 8 * shape[0] * shape[1]


def parse_prediction(raw: bytes, shape: tuple[int, int], largest: float) -> npt.NDArray[np.floating]:
    """A read-only float32 or float64 array of exactly `shape`, every value finite and in [0, largest].

    `largest` is the sum of the training counts: no entry of a denoised matrix can hold more molecules than there were.
    Raises BadOutput for everything else.
    """
    dtype, start = _header(raw, shape)
    body = len(raw) - start
    if body != dtype.itemsize * shape[0] * shape[1]:
        raise BadOutput(f"the file holds {body} bytes of data, {shape} {dtype.name} takes another number")
    values = np.frombuffer(raw, dtype=dtype, offset=start).reshape(shape)
    # NaN is passed on by min and max; unlike isfinite() they make no second array of the prediction's size.
    least, most = float(values.min()), float(values.max())
    if not (math.isfinite(least) and math.isfinite(most)):
        raise BadOutput("the prediction has values that are not finite")
    if least < 0:
        raise BadOutput(f"the prediction has negative values (least: {least:.3g})")
    if most > largest:
        raise BadOutput(f"the prediction has values above the sum of all training counts ({largest:.0f})")
    return values


def _header(raw: bytes, shape: tuple[int, int]) -> tuple[np.dtype[np.floating], int]:
    """The dtype and the offset of the data, once the header says exactly what it must."""
    if raw[:6] != MAGIC or len(raw) < 12:
        raise BadOutput("the output is not a .npy file")
    if raw[6:8] == b"\x01\x00":
        length, start = struct.unpack_from("<H", raw, 8)[0], 10
    elif raw[6:8] == b"\x02\x00":
        length, start = struct.unpack_from("<I", raw, 8)[0], 12
    else:
        raise BadOutput("the .npy version is neither 1.0 nor 2.0")
    if length > MAX_HEADER_BYTES or start + length > len(raw):
        raise BadOutput("the .npy header is longer than the file or than 1024 bytes")
    try:
        header = ast.literal_eval(raw[start : start + length].decode("ascii").strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise BadOutput("the .npy header does not parse") from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise BadOutput("the .npy header does not have the three standard keys")
    descr = header["descr"]
    if not isinstance(descr, str) or descr not in DTYPES:
        raise BadOutput(f"the prediction must be float32 or float64, not {str(descr)[:40]}")
    if header["fortran_order"] is not False:
        raise BadOutput("the prediction must be in C order")
    found = header["shape"]
    if type(found) is not tuple or any(type(n) is not int for n in found) or found != shape:
        raise BadOutput(f"the prediction has shape {str(found)[:40]}, the counts have {shape}")
    return DTYPES[descr], start + length
