"""Inside the sandbox: load the candidate's kernel and call it on the memory that the evaluator hands over.

Run as `python3 -P guest.py <socket> <program> <cpu|cuda> <fills|returns>`, with `candidate.py` of `sandboxes/guest` on
PYTHONPATH and `protocol.py` beside this file. Everything here shares a process with untrusted code, so nothing here is
trusted: its clock is advice, and its "done" only makes the evaluator look.

The first process only imports torch and forks: each life of the candidate is a child of it, with pages of its own and a heap that
begins elsewhere and has other holes.
"""

import array
import ctypes
import mmap
import os
import random
import signal
import socket
import sys
import time
from typing import ClassVar

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

import protocol
import torch
from candidate import BROKEN_CONTRACT, accept, call, give_up, load

PROT_NONE, MAP_NORESERVE, MAP_FIXED = 0, 0x4000, 0x10
SHIFT_BYTES, LINE_BYTES = 256 * 1024 * 1024, 64
"""How far from another a heap may begin, and in which steps (a cache line)."""
PIECES, LARGEST_PIECE = 64, 20
"""How many pieces are taken from a new heap, and the binary logarithm of the largest, in bytes; half of them are given back."""
libc = ctypes.CDLL(None, use_errno=True)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free.restype = None
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


class HostMemory:
    """Addresses for one memory, which is mapped once and gets other data for each block."""

    lasting = True
    bases: ClassVar = list(protocol.BASES)
    """Where the next inputs and the next outputs go."""

    def __init__(self, size, writable):
        self.size = size
        self.writable = writable
        base = self.bases[writable]
        self.bases[writable] += protocol.BASE_STRIDE
        self.address = self._map(base, PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, -1)
        self.bytes = torch.frombuffer((ctypes.c_char * size).from_address(self.address), dtype=torch.uint8)
        self.touched = 0

    def _map(self, address, protection, flags, handle):
        found = libc.mmap(address, self.size, protection, flags, handle, 0)
        if found == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        return found

    def tensor(self, spec, offset):
        """One tensor at its place; there is memory after `map`."""
        data = (ctypes.c_char * spec.bytes).from_address(self.address + offset)
        return torch.frombuffer(data, dtype=getattr(torch, spec.dtype)).view(spec.shape)

    def map(self, handle):
        """Map memory beneath the tensors."""
        self._map(self.address, self.protection(), mmap.MAP_SHARED | MAP_FIXED, handle)
        os.close(handle)

    def protection(self):
        """What may be done with it."""
        return mmap.PROT_READ | (mmap.PROT_WRITE if self.writable else 0)

    def touch(self, size):
        """Touch every page of the first `size` bytes once, so that no page fault is left for the kernel."""
        pages = self.bytes[self.touched : size : mmap.PAGESIZE]
        if self.writable:
            pages.zero_()
        else:
            pages.sum()
        self.touched = max(self.touched, size)


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


def prepare(run, kernel, form, memories):
    """Make the arguments of a run: everything that can be done without its data. Returns the launch and the bytes used."""
    sides, used = [], []
    for specs, held in zip((run.inputs, run.outputs), memories, strict=True):
        places, size = protocol.placement(specs, run.slots)
        sides.append([{s.name: held.tensor(s, slot[s.name]) for s in specs} for slot in places])
        used.append(size)
    given, taken = sides
    calls = [(*grouped(into), *out.values()) for into, out in zip(given, taken, strict=True)]
    accept(kernel, "kernel", 1 if form == "returns" else len(calls[0]))
    if form == "returns":
        kernel = returning(kernel, len(grouped(given[0])))

    def launch():
        for arguments in calls:
            kernel(*arguments)

    return launch, used


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

    def waiting(self, line):
        """Whether this line has come, unread until now."""
        try:
            return self.socket.recv(len(line), socket.MSG_DONTWAIT) == line
        except BlockingIOError:
            return False

    def say(self, line):
        """Send a line."""
        self.socket.sendall(line)


def live(channel):
    """Return in a new process each time the evaluator asks for one. The first process ends here, as the last of them did."""
    if channel.line()[0] != protocol.LIVE:
        os._exit(0)
    while True:
        child = os.fork()
        if child == 0:
            deal_heap()
            return
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != protocol.NEXT_LIFE and not channel.waiting(protocol.LIVE):
            end_as(code)


def deal_heap():
    """Let the heap of this life begin at a random place and have holes of its own.

    A child has its parent's addresses and holes. Caches find lines by virtual addresses in part, and holes decide which temporaries come
    to lie in memory that was used before: the same for all lives, they would favour one of two identical programs for a whole run.
    """
    chance = random.SystemRandom()
    libc.malloc(chance.randrange(SHIFT_BYTES // LINE_BYTES) * LINE_BYTES)
    pieces = [libc.malloc(chance.randrange(1 << chance.randrange(6, LARGEST_PIECE + 1))) for _ in range(PIECES)]
    for piece in chance.sample(pieces, PIECES // 2):
        libc.free(piece)


def end_as(code):
    """End this process as another one ended: by an exit code, or by a signal, which is then negative."""
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def serve(channel, kernel, form, memory, clock):
    """Answer runs until the evaluator closes the socket, or wants another life."""
    rooms, known = {}, {}
    while True:
        line, handles = channel.line()
        if not line:
            return
        if line == protocol.LIVE:
            os._exit(protocol.NEXT_LIFE)
        run = protocol.decode_run(line)
        if run.room not in rooms:
            rooms[run.room] = memory(run.room[0], False), memory(run.room[1], True)
        memories = rooms[run.room]
        key = (run.room, run.slots, run.inputs, run.outputs)
        if key not in known:
            known[key] = prepare(run, kernel, form, memories)
        launch, used = known[key]
        for held, handle in zip(memories, handles, strict=False):
            held.map(handle)
        for held, size in zip(memories, used, strict=True):
            held.touch(size)
        channel.say(protocol.prepared(run.sequence))
        if channel.line()[0] != protocol.go(run.sequence):
            return
        clock.start()
        call(launch)
        spent = call(clock.stop)
        channel.say(protocol.done(run.sequence, max(0, int(spent))))
        for held in memories:
            if not held.lasting:
                held.unmap()


def main():
    """Connect first, so that the evaluator's one connection is taken before untrusted code runs."""
    where, program, device, form = sys.argv[1:]
    memory, clock = HostMemory, HostClock()
    channel = Channel(where)
    live(channel)
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
