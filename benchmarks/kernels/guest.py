"""Inside the sandbox: load the candidate's kernel and call it on the memory that the evaluator hands over.

Run as `python3 guest.py <socket> <program>`, with `candidate.py` of `sandboxes/guest` on PYTHONPATH and `protocol.py`
beside this file. Everything here shares a process with untrusted code, so nothing here is trusted: it keeps no time,
and its "done" only makes the evaluator look.
"""

import array
import mmap
import os
import socket
import sys
import warnings

import protocol
import torch
from candidate import BROKEN_CONTRACT, call, give_up, load


def receive(channel):
    """One request line and its file descriptors; an empty line when the evaluator closed the socket."""
    handles = array.array("i")
    line = b""
    while not line.endswith(b"\n"):
        part, ancillary, _, _ = channel.recvmsg(protocol.MAX_REQUEST_BYTES, socket.CMSG_SPACE(2 * handles.itemsize))
        if not part:
            return b"", handles
        line += part
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                handles.frombytes(data)
    return line, handles


def mapped(handle, size, protection):
    """Map the whole memory, pages and all, so that a page fault is the protocol's cost and not the kernel's."""
    try:
        return mmap.mmap(handle, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=protection)
    finally:
        os.close(handle)


def tensors(memory, specs, places):
    """One slot's tensors by name, without a copy."""
    return {
        spec.name: torch.frombuffer(
            memory, dtype=getattr(torch, spec.dtype), count=spec.items, offset=places[spec.name]
        ).view(spec.shape)
        for spec in specs
    }


def grouped(named):
    """Positional arguments: plain names as they are, dotted names gathered in one dictionary per group."""
    arguments = {}
    for name, tensor in named.items():
        group, dot, member = name.partition(".")
        if dot:
            arguments.setdefault(group, {})[member] = tensor
        else:
            arguments[name] = tensor
    return list(arguments.values())


def serve(channel, kernel):
    """Answer runs until the evaluator closes the socket."""
    while True:
        line, handles = receive(channel)
        if not line:
            return
        run = protocol.decode_run(line)
        in_places, in_size = protocol.placement(run.inputs, run.slots)
        out_places, out_size = protocol.placement(run.outputs, run.slots)
        inputs = mapped(handles[0], in_size, mmap.PROT_READ)
        outputs = mapped(handles[1], out_size, mmap.PROT_READ | mmap.PROT_WRITE)
        for slot in range(run.slots):
            arguments = grouped(tensors(inputs, run.inputs, in_places[slot]))
            arguments += tensors(outputs, run.outputs, out_places[slot]).values()
            call(kernel, *arguments)
        channel.sendall(protocol.done(run.sequence))
        # Unmap after the reply: before the next request comes, and not while it is being timed.
        del arguments, inputs, outputs


def main():
    """Connect first, so that the evaluator's one connection is taken before untrusted code runs."""
    where, program = sys.argv[1:]
    # The inputs are read-only by design; torch warns about every such buffer.
    warnings.filterwarnings("ignore", message="The given buffer is not writable")
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.connect(where)
    kernel = load(program, "kernel")
    channel.sendall(protocol.READY)
    try:
        serve(channel, kernel)
    except (OSError, protocol.ProtocolError) as error:
        give_up(BROKEN_CONTRACT, f"lost the evaluator: {error}")


if __name__ == "__main__":
    main()
