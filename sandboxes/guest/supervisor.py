"""The little program inside every sandbox: it takes orders over stdin, runs one process at a time, and answers on stdout.

It uses only the standard library and holds no secret. The candidate runs under the same user, so nothing said here is
believed by the evaluator beyond "these are the bytes that came out". When stdin closes (the controller is gone) it
ends, and because it is process 1 of its namespace the kernel then ends everything else.

Wire format, both ways: one JSON object on one line, then as many raw bytes as the object names.
"""

import contextlib
import ctypes
import errno
import json
import os
import resource
import selectors
import signal
import stat
import struct
import sys
import time

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 22, 38
SECCOMP_MODE_FILTER = 2
CHUNK = 1 << 16


def hide():
    """Make /proc/<us>/fd and our memory unreadable for the candidate, which shares our user."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


PENDING = bytearray()
"""What has been read and not yet used. It is empty while a candidate runs: the controller speaks only between orders."""


def read_more():
    part = os.read(0, CHUNK)
    if not part:
        os._exit(0)
    PENDING.extend(part)


def read_exactly(count):
    """As many bytes as asked for, which is never more than a chunk."""
    while len(PENDING) < count:
        read_more()
    part = bytes(PENDING[:count])
    del PENDING[:count]
    return part


def read_line():
    while b"\n" not in PENDING:
        read_more()
    return json.loads(read_exactly(PENDING.index(b"\n") + 1))


def write_all(data):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def answer(message, *payloads):
    write_all(json.dumps(message).encode() + b"\n")
    for payload in payloads:
        write_all(payload)


def open_without_links(path, flags, *, make=False):
    """Open a regular file; no part of its path may be a link, which the candidate could have put there.

    O_NONBLOCK: a pipe with a name would hold us for ever. Truncation waits until it is known to be a regular file.
    """
    *folders, name = (part for part in path.split("/") if part)
    at = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        for folder in folders:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o755, dir_fd=at)
            below = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file")
    return fd


def put(order):
    """Write a file; the bytes are read to the end even when they can't be stored, or the stream would be lost."""
    left, error = order["size"], None
    try:
        fd = open_without_links(order["path"], os.O_WRONLY | os.O_CREAT, make=True)
        os.truncate(fd, 0)
    except (OSError, ValueError) as problem:
        fd, error = None, str(problem)
    while left:
        part = read_exactly(min(left, CHUNK))
        left -= len(part)
        if fd is not None and error is None:
            try:
                view = memoryview(part)
                while view:
                    view = view[os.write(fd, view) :]
            except OSError as problem:
                error = str(problem)
    if fd is not None:
        os.close(fd)
    answer({"error": error})


def get(order):
    """Send a regular file of bounded size. Links and devices are refused."""
    try:
        fd = open_without_links(order["path"], os.O_RDONLY)
    except (OSError, ValueError) as problem:
        answer({"error": getattr(problem, "strerror", None) or "not a path"})
        return
    info = os.fstat(fd)
    if info.st_size > order["max"]:
        answer({"error": f"larger than {order['max']} bytes"})
    else:
        answer({"error": None, "size": info.st_size})
        left = info.st_size
        while left:
            # Nothing runs beside us between orders, but if the file shrank all the same, keep the stream whole.
            part = os.read(fd, min(left, CHUNK)) or b"\0" * min(left, CHUNK)
            write_all(part)
            left -= len(part)
    os.close(fd)


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


def start(order):
    """Fork the candidate's process with its limits set; returns its pid and the read ends of its two streams."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(out_write)
        os.close(err_write)
        return pid, out_read, err_read
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(out_write, 1)
        os.dup2(err_write, 2)
        os.closerange(3, 256)
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
        os.execvpe(order["argv"][0], order["argv"], order["env"])
    except BaseException as problem:
        os.write(2, f"RATCHET: could not start: {problem}\n".encode())
    os._exit(127)


def watch(pid, streams, order):
    """Drain both streams, keep the tail of each, stop at the deadline, a flood, or when the process has ended."""
    limit, deadline = order["output_bytes"], time.monotonic() + order["wall_s"]
    kept = {fd: bytearray() for fd in streams}
    total = dict.fromkeys(streams, 0)
    state = {"timed_out": False, "flooded": False}
    pidfd = os.pidfd_open(pid)
    with selectors.DefaultSelector() as ready:
        for fd in (*streams, pidfd, 0):
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
                running = drain(key.fd, ready, kept, total, limit, state) and running
            if state["flooded"]:
                break
    os.close(pidfd)
    end_everything()
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


def end_everything():
    """Kill and reap every other process of this namespace: a daemonised grandchild too.

    The dying need processor time to give their memory back, and a candidate may have used up the quota: wait for them.
    """
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


def execute(order):
    begun = time.monotonic()
    EXITS.clear()
    pid, out, err = start(order)
    state, (stdout, stderr) = watch(pid, (out, err), order)
    status = EXITS.get(pid)
    code = os.waitstatus_to_exitcode(status) if status is not None else -9
    message = {
        "exit_code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "stdout": len(stdout),
        "stderr": len(stderr),
        "wall_s": time.monotonic() - begun,
        **state,
    }
    answer(message, stdout, stderr)


def main():
    hide()
    # Process 1 is spared by signals from inside as long as it has no handler for them, and Python brings one.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    answer({"ready": os.getpid(), "python": sys.version.split()[0]})
    orders = {"put": put, "get": get, "exec": execute}
    while True:
        order = read_line()
        orders[order["op"]](order)


if __name__ == "__main__":
    main()
