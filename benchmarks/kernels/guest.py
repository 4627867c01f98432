"""Inside the sandbox: load the candidate's kernel and call it on the memory that the evaluator hands over.

Run as `python3 guest.py <socket> <program> <cpu|cuda> <fills|returns>`, with `candidate.py` of `sandboxes/guest` on
PYTHONPATH and `protocol.py` beside this file. Everything here shares a process with untrusted code, so nothing here is
trusted: its clock is advice, and its "done" only makes the evaluator look.
"""

import array
import ctypes
import mmap
import os
import socket
import sys
import time

import protocol
import torch
from candidate import BROKEN_CONTRACT, call, give_up, load

PROT_NONE, MAP_NORESERVE, MAP_FIXED = 0, 0x4000, 0x10
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


class HostMemory:
    """Addresses for one memory: tensors are made once, and the memory of each block is mapped beneath them."""

    def __init__(self, size, writable):
        self.size = size
        self.protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self.address = self._map(None, PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, -1)

    def _map(self, address, protection, flags, handle):
        found = libc.mmap(address, self.size, protection, flags, handle, 0)
        if found == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        return found

    def tensor(self, spec, offset):
        """One tensor at its place; there is memory between `map` and `unmap`."""
        data = (ctypes.c_char * spec.bytes).from_address(self.address + offset)
        return torch.frombuffer(data, dtype=getattr(torch, spec.dtype)).view(spec.shape)

    def map(self, handle):
        """Map memory beneath the tensors, pages and all, so that no page fault is left for the kernel."""
        self._map(self.address, self.protection, mmap.MAP_SHARED | MAP_FIXED | mmap.MAP_POPULATE, handle)
        os.close(handle)

    def unmap(self):
        """Take the memory away and keep the addresses."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
        self._map(self.address, PROT_NONE, flags, -1)


class HostClock:
    """Seconds between two instants by this process's own clock."""

    def start(self):
        """The first instant."""
        self.begun = time.perf_counter_ns()

    def stop(self):
        """Nanoseconds since the first instant."""
        return time.perf_counter_ns() - self.begun


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


def returning(kernel, inputs):
    """Adapt `kernel(data) -> output`: copy what it returns into the evaluator's memory, inside the timed window.

    Only plain dense tensors of the right shape, dtype and device are copied, so nothing computes itself on being looked at.
    """

    def fill(*arguments):
        returned = kernel(tuple(arguments[:inputs]))
        wanted = arguments[inputs:]
        if type(returned) is not tuple:
            returned = (returned,)
        if len(returned) != len(wanted):
            give_up(BROKEN_CONTRACT, f"kernel returned {len(returned)} outputs, not {len(wanted)}")
        for got, out in zip(returned, wanted, strict=True):
            if type(got) is not torch.Tensor or got.layout is not torch.strided:
                give_up(BROKEN_CONTRACT, f"kernel returned a {type(got).__name__}, not a plain dense tensor")
            for what in ("shape", "dtype", "device"):
                if getattr(got, what) != getattr(out, what):
                    mine, theirs = getattr(out, what), getattr(got, what)
                    give_up(BROKEN_CONTRACT, f"kernel returned an output of {what} {theirs}, not {mine}")
            out.copy_(got)

    return fill


def prepare(run, kernel, form, memory):
    """Make memories and arguments of a run: everything that can be done without its data."""
    sides = []
    for specs, writable in ((run.inputs, False), (run.outputs, True)):
        places, size = protocol.placement(specs, run.slots)
        held = memory(size, writable)
        sides.append((held, [{s.name: held.tensor(s, slot[s.name]) for s in specs} for slot in places]))
    (inputs, given), (outputs, taken) = sides
    calls = [(*grouped(into), *out.values()) for into, out in zip(given, taken, strict=True)]
    if form == "returns":
        kernel = returning(kernel, len(grouped(given[0])))

    def launch():
        for arguments in calls:
            kernel(*arguments)

    return inputs, outputs, launch


class Channel:
    """The socket, line by line, with the descriptors that came along."""

    def __init__(self, where):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(where)

    def line(self):
        """One line and its descriptors; an empty line when the evaluator closed the socket."""
        handles = array.array("i")
        line = b""
        while not line.endswith(b"\n"):
            room = socket.CMSG_SPACE(2 * handles.itemsize)
            part, ancillary, _, _ = self.socket.recvmsg(protocol.MAX_REQUEST_BYTES, room)
            if not part:
                return b"", handles
            line += part
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    handles.frombytes(data)
        return line, handles

    def say(self, line):
        """Send a line."""
        self.socket.sendall(line)


def serve(channel, kernel, form, memory, clock):
    """Answer runs until the evaluator closes the socket."""
    known = {}
    while True:
        line, handles = channel.line()
        if not line:
            return
        run = protocol.decode_run(line)
        key = (run.slots, run.inputs, run.outputs)
        if key not in known:
            known[key] = prepare(run, kernel, form, memory)
        inputs, outputs, launch = known[key]
        inputs.map(handles[0])
        outputs.map(handles[1])
        channel.say(protocol.prepared(run.sequence))
        if channel.line()[0] != protocol.go(run.sequence):
            return
        clock.start()
        call(launch)
        spent = call(clock.stop)
        channel.say(protocol.done(run.sequence, max(0, int(spent))))
        inputs.unmap()
        outputs.unmap()


def main():
    """Connect first, so that the evaluator's one connection is taken before untrusted code runs."""
    where, program, device, form = sys.argv[1:]
    memory, clock = HostMemory, HostClock()
    channel = Channel(where)
    if device == "cuda":
        from cuda_guest import CudaClock, CudaMemory

        memory, clock = CudaMemory, CudaClock()
    kernel = load(program, "kernel")
    channel.say(protocol.READY)
    try:
        serve(channel, kernel, form, memory, clock)
    except (OSError, protocol.ProtocolError) as error:
        give_up(BROKEN_CONTRACT, f"lost the evaluator: {error}")


if __name__ == "__main__":
    main()
