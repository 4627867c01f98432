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
import signal
import stat
import sys
import time

# Started with -I, which keeps every folder that someone might write to out of the path: this one is part of the image.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import process

PR_SET_DUMPABLE = 4
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


WAITING = None
"""The interpreter that was started ahead, or None."""


def warm(order):
    """Start an interpreter ahead, and say whether it has imported everything."""
    global WAITING
    process.end_everything()
    WAITING = process.Waiting(order)
    ready = WAITING.is_ready(order["wall_s"])
    if not ready:
        WAITING.end()
        WAITING = None
    answer({"warm": ready})


def ping(order):
    """Say that we are here, and whether the interpreter that was started ahead still is."""
    answer({"here": True, "warm": WAITING is not None and WAITING.is_alive()})


def begin(order):
    """Start the order's process, in the waiting interpreter where it fits; returns what `Waiting.begin` does."""
    global WAITING
    waiting, WAITING = WAITING, None
    if waiting is not None:
        if waiting.fits(order) and waiting.is_alive():
            return waiting.begin(order)
        waiting.end()  # Or the candidate would find it.
    process.end_everything()  # The last one, if there was one, may still be on its way out.
    return (*process.start(order, order["argv"]), None)


def execute(order):
    begun = time.monotonic()
    process.EXITS.clear()
    pid, out, err, said = begin(order)
    state, (stdout, stderr) = process.watch(pid, (out, err), order, said)
    if said is not None:
        os.close(said)
    status = process.EXITS.get(pid)
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
    orders = {"put": put, "get": get, "exec": execute, "warm": warm, "ping": ping}
    while True:
        order = read_line()
        orders[order["op"]](order)


if __name__ == "__main__":
    main()
