"""The one process that a sandbox runs: started with its limits on, watched, and ended with all it left behind.

A part of the supervisor, which see. A process may be started ahead of its order: an interpreter that imports what it is told
to and then waits for the program it is to run (`warm.py`). It has the candidate's limits and filter from the start.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import selectors
import signal
import struct
import time

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 22, 38
SECCOMP_MODE_FILTER = 2
CHUNK = 1 << 16
WARM = "/opt/ratchet/guest/warm.py"


def filter_calls(programs):
    """Put the system-call filter for this machine on this process and all it becomes; it can't be taken off again."""
    code = bytes.fromhex(programs[os.uname().machine])
    kept = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, padding, a pointer to them.
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(kept))
    call = ctypes.CDLL(None, use_errno=True).prctl
    # Without privileges a filter may be set only once none can be gained; a backend has said so already.
    if call(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or call(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "no system-call filter")


def start(order, argv, control=None, ready=None):
    """Fork the candidate's process with its limits set; returns its pid and the read ends of its two streams.

    `control` becomes its standard input (else there is none), and `ready` its descriptor 3.
    """
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(out_write)
        os.close(err_write)
        return pid, out_read, err_read
    try:
        os.setsid()
        os.dup2(os.open("/dev/null", os.O_RDONLY) if control is None else control, 0)
        os.dup2(out_write, 1)
        os.dup2(err_write, 2)
        if ready is not None:
            os.dup2(ready, 3)
        os.closerange(3 if ready is None else 4, 256)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # Or /proc/self would belong to root, and stay closed.
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        for name, bound in order["rlimits"].items():
            limit = getattr(resource, name)
            _, hard = resource.getrlimit(limit)
            bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)  # Raising it is not ours to do.
            resource.setrlimit(limit, (bound, bound))
        for number in range(1, 32):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_DFL)
        os.chdir("/scratch")
        filter_calls(order["filter"])
        os.execvpe(argv[0], argv, order["env"])
    except BaseException as problem:
        os.write(2, f"RATCHET: could not start: {problem}\n".encode())
    os._exit(127)


def watch(pid, streams, order, said=None):
    """Drain both streams, keep the tail of each, stop at the deadline, a flood, or when the process has ended.

    `said` is where a process that was started ahead says its exit code when it is done, and it is in EXITS then. Such a process
    is killed like the others, and not waited for: it gives back its memory while its output is on the way.
    """
    limit, deadline = order["output_bytes"], time.monotonic() + order["wall_s"]
    kept = {fd: bytearray() for fd in streams}
    total = dict.fromkeys(streams, 0)
    state = {"timed_out": False, "flooded": False}
    pidfd = os.pidfd_open(pid)
    with selectors.DefaultSelector() as ready:
        for fd in (*streams, pidfd, 0, *([] if said is None else [said])):
            ready.register(fd, selectors.EVENT_READ)
        running = True
        while running:
            left = deadline - time.monotonic()
            if left <= 0:
                state["timed_out"] = True
                break
            for key, _ in ready.select(left):
                if key.fd == 0:
                    os._exit(0)  # The controller speaks only between orders, so this is the end of the stream.
                if key.fd == pidfd:
                    running = False
                    continue
                if key.fd == said:
                    ready.unregister(said)
                    code = os.read(said, 1)
                    if code:  # Else it has only closed it.
                        EXITS[pid] = code[0] << 8
                        running = False
                    continue
                running = drain(key.fd, ready, kept, total, limit, state) and running
            if state["flooded"]:
                break
    os.close(pidfd)
    end_everything(wait=pid not in EXITS)
    for fd in streams:  # What was written before the end is still in the pipe; whoever held it is dead now.
        os.set_blocking(fd, False)
        while drain(fd, None, kept, total, limit, state):
            pass
        os.close(fd)
    return state, [bytes(kept[fd]) for fd in streams]


def drain(fd, ready, kept, total, limit, state):
    """Read one chunk of a stream into its bounded tail. False when it has nothing more."""
    try:
        part = os.read(fd, CHUNK)
    except BlockingIOError:
        return False
    if not part:
        if ready is not None:
            ready.unregister(fd)
            return True
        return False
    total[fd] += len(part)
    kept[fd] += part
    if len(kept[fd]) > limit:
        del kept[fd][: len(kept[fd]) - limit]
    if total[fd] > limit:
        state["flooded"] = True
    return total[fd] <= limit


EXITS = {}


def end_everything(wait=True):
    """Kill and reap every other process of this namespace: a daemonised grandchild too.

    The dying need processor time to give their memory back, and a candidate may have used up the quota: wait for them, or
    else before the next one starts. None of them runs another instruction of its own in either case.
    """
    if not wait:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                EXITS[pid] = status
        except ChildProcessError:
            return
        time.sleep(0.002)


class Waiting:
    """An interpreter that has imported what it was told to and waits for its one program."""

    def __init__(self, order):
        self.order = order
        control, self.control = os.pipe()
        self.ready, ready = os.pipe()
        self.pid, self.out, self.err = start(order, [*order["argv"], WARM, *order["modules"]], control, ready)
        os.close(control)
        os.close(ready)

    def is_ready(self, wall_s):
        """True once it has imported everything; False when it ended instead, or took longer than `wall_s` seconds."""
        came, _, _ = select.select([self.ready], [], [], wall_s)
        return bool(came) and os.read(self.ready, 1) == b"r"

    def is_alive(self):
        """False when something has ended it."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            EXITS[pid] = status
        return not pid

    def fits(self, order):
        """True when it was started just as this order's process would be: same interpreter, environment and limits."""
        start_of = order["argv"][: len(self.order["argv"])]
        return start_of == self.order["argv"] and all(order[x] == self.order[x] for x in ("env", "rlimits", "filter"))

    def begin(self, order):
        """Hand over the program; returns what `start` does, and where it will say that it is done."""
        line = json.dumps(order["argv"][len(self.order["argv"]) :]).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # It has ended: `watch` will see that.
            while line:
                line = line[os.write(self.control, line) :]
        os.close(self.control)
        return self.pid, self.out, self.err, self.ready

    def end(self):
        """Kill it unused."""
        end_everything()
        for fd in (self.control, self.ready, self.out, self.err):
            os.close(fd)
