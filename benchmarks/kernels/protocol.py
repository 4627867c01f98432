"""The words that evaluator and guest exchange, and where tensors lie in the memory they share.

Both sides import this file: the evaluator as `benchmarks.kernels.protocol`, the guest as a copy beside it in the
sandbox. So it needs Python 3.11 and the standard library, nothing else.

    evaluator  -> "live\n"                   load the candidate in a process of its own; the one before it has ended, or ends now
    guest      -> "ready\n"                  it is loaded
    evaluator  -> one JSON line (`Run`); with it two file descriptors, memory for inputs and outputs, unless the guest has them
    guest      -> "prepared <sequence>\n"    it is mapped and the tensors are made; now the sandbox is frozen and filled
    evaluator  -> "run <sequence>\n"         the clock runs, the sandbox is awake, the data are there
    guest      -> "done <sequence> <ns>\n"   every slot's kernel call has returned; nanoseconds by its own clock

Maps and tensors take time that a candidate could save and the plain program could not, so they are made before the clock runs.
What is left in the timed window is one message each way.

The evaluator ends the session by closing the socket. Anything else on the wire is a broken contract.
"""

import json
from dataclasses import dataclass

SOCKET = "/clock/clock.sock"
LIVE = b"live\n"
READY = b"ready\n"
NEXT_LIFE = 67
"""Exit code of a life that ended because it was asked to."""
MAX_REPLY_BYTES = 64
MAX_REQUEST_BYTES = 64 * 1024
ALIGNMENT = 64
"""Bytes. A cache line, and the widest vector register."""
SLOT_ALIGNMENT = 4096
"""Bytes. Slots start on a page of their own, so that no slot's page brings in another's data."""
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "int32": 4, "int64": 8}
"""The dtypes of the wire, by torch's names, and the size of one element."""
MAX_RANK = 8
BASES = 0x2000_0000_0000, 0x3000_0010_0000
"""Virtual addresses at which a guest on a CPU maps its first inputs and outputs; where one is taken, the kernel gives another.

Chance would give each program others, and some pairs are slow: on AMD's Zen, which finds a cache line by a hash of its virtual
address, a softmax takes 1.5 ms where inputs and outputs hash alike, and 1.2 ms where not. So every program gets the same, which do not.
"""
BASE_STRIDE = 1 << 40
"""From there to the next memory of the same kind."""


class ProtocolError(ValueError):
    """A message that is not of this protocol."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of one tensor. A dotted name `group.name` is handed over in the dictionary `group`."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def items(self) -> int:
        """Number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.items * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Run:
    """One block of launches: the same shapes `slots` times over, each slot with data of its own."""

    sequence: int
    slots: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    room: tuple[int, int]
    """Sizes in bytes of the memory for inputs and of that for outputs; a block uses the first part of each."""


def _up(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def placement(specs: tuple[TensorSpec, ...], slots: int) -> tuple[list[dict[str, int]], int]:
    """Byte offset of every tensor, for each slot by name, and the size of the whole memory in bytes."""
    offsets: list[dict[str, int]] = []
    end = 0
    for _ in range(slots):
        end = _up(end, SLOT_ALIGNMENT)
        slot = {}
        for spec in specs:
            end = _up(end, ALIGNMENT)
            slot[spec.name] = end
            end += spec.bytes
        offsets.append(slot)
    return offsets, max(_up(end, SLOT_ALIGNMENT), SLOT_ALIGNMENT)


def encode_run(run: Run) -> bytes:
    """The request's line. Raises ProtocolError when it would be longer than the guest reads."""
    fields = {
        "sequence": run.sequence,
        "slots": run.slots,
        "inputs": [[s.name, list(s.shape), s.dtype] for s in run.inputs],
        "outputs": [[s.name, list(s.shape), s.dtype] for s in run.outputs],
        "room": list(run.room),
    }
    line = json.dumps(fields).encode() + b"\n"
    if len(line) > MAX_REQUEST_BYTES:
        raise ProtocolError(f"request has {len(line)} bytes, more than {MAX_REQUEST_BYTES}")
    return line


def _natural(value: object, least: int) -> int:
    if type(value) is not int or value < least:
        raise ProtocolError(f"expected an integer of at least {least}, got {value!r}")
    return value


def _spec(entry: object) -> TensorSpec:
    if not isinstance(entry, list) or len(entry) != 3:
        raise ProtocolError(f"a tensor is [name, shape, dtype], got {entry!r}")
    name, shape, dtype = entry
    if not isinstance(name, str) or not name or not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise ProtocolError(f"bad tensor name or dtype: {entry!r}")
    if not isinstance(shape, list) or len(shape) > MAX_RANK:
        raise ProtocolError(f"bad shape: {shape!r}")
    return TensorSpec(name, tuple(_natural(extent, 1) for extent in shape), dtype)


def decode_run(line: bytes) -> Run:
    """The request of a line. Raises ProtocolError for anything that `encode_run` would not write."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from error
    if not isinstance(fields, dict) or set(fields) != {"sequence", "slots", "inputs", "outputs", "room"}:
        raise ProtocolError("a request has the fields sequence, slots, inputs, outputs and room")
    if not isinstance(fields["inputs"], list) or not isinstance(fields["outputs"], list):
        raise ProtocolError("inputs and outputs are lists")
    if not isinstance(fields["room"], list) or len(fields["room"]) != 2:
        raise ProtocolError("room is two sizes")
    return Run(
        _natural(fields["sequence"], 0),
        _natural(fields["slots"], 1),
        tuple(map(_spec, fields["inputs"])),
        tuple(map(_spec, fields["outputs"])),
        (_natural(fields["room"][0], 1), _natural(fields["room"][1], 1)),
    )


def prepared(sequence: int) -> bytes:
    """The guest's word that it is ready for the run of that number."""
    return f"prepared {sequence}\n".encode()


def go(sequence: int) -> bytes:
    """The evaluator's word that the clock runs."""
    return f"run {sequence}\n".encode()


def done(sequence: int, nanoseconds: int) -> bytes:
    """The reply to the run of that number. The time is the guest's own, which is advice and never a measurement."""
    return f"done {sequence} {nanoseconds}\n".encode()


def decode_done(line: bytes, sequence: int) -> int:
    """Nanoseconds of a reply to the run of that number. Raises ProtocolError for anything that `done` would not write."""
    head, _, digits = line.removesuffix(b"\n").rpartition(b" ")
    if head != b"done %d" % sequence or not line.endswith(b"\n") or not (digits.isdigit() and len(digits) <= 18):
        raise ProtocolError("not the reply that was owed")
    return int(digits)
