"""Each limit holds at its bound: just below passes, just above fails and says which one; the sandbox then still works."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from sandboxes.base import MIB, ExecResult, FileRefused, Limits, SandboxError, SandboxFactory
from sandboxes.session import Session, open_session
from tests.sandboxes.conftest import IMAGE, SMALL

pytestmark = pytest.mark.sandbox

FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
FLOOD = "while True: print('x' * 1000)"
SLEEP = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
SPIN = """
import multiprocessing, os, time
def spin(_):
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        pass
    return sum(os.times()[:2])
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(sum(pool.map(spin, range(2))))
"""


def python(box: Session, program: str, wall_s: float | None = None) -> ExecResult:
    box.put("/scratch/program.py", program.encode())
    return box.exec(["python3", "/scratch/program.py"], wall_s=wall_s)


def works(box: Session) -> bool:
    return python(box, "print('fine')").stdout == b"fine\n"


def changed(**bounds: float) -> Limits:
    return dataclasses.replace(SMALL, **bounds)  # type: ignore[arg-type]


def test_memory(box: Session) -> None:
    # 256 MiB for all of it: the two interpreters need less than 40.
    fits = python(box, "x = bytearray(200 << 20); print(len(x))")
    assert (fits.succeeded, fits.stdout) == (True, b"%d\n" % (200 << 20))
    result = python(box, "x = bytearray(256 << 20); print(len(x))")
    assert result.oom
    assert not result.succeeded
    assert works(box)


def test_memory_is_counted_over_all_processes_and_the_scratch_space(box: Session) -> None:
    program = """
import os, time
open("/scratch/file", "wb").write(b"x" * ({scratch} << 20))
children = [os.fork() for _ in range(2)]
if 0 in children:
    x = bytearray(60 << 20)
    time.sleep(1)
    os._exit(0)
print(sorted(os.waitpid(pid, 0)[1] for pid in children))
"""
    assert python(box, program.format(scratch=1)).stdout == b"[0, 0]\n"
    over = python(box, program.replace("60 <<", "110 <<").format(scratch=30))
    assert over.oom
    assert works(box)


def test_a_kill_is_not_taken_for_memory(box: Session) -> None:
    result = python(box, "import os; os.kill(os.getpid(), 9)")
    assert (result.signal, result.oom, result.timed_out) == (9, False, False)


def test_wall_clock_inside(box: Session) -> None:
    assert python(box, "import time; time.sleep(0.3)", wall_s=1.5).succeeded
    result = python(box, SLEEP, wall_s=0.5)
    assert result.timed_out
    assert 0.5 <= result.wall_s < 3
    assert works(box)


def test_no_program_gets_more_wall_clock_than_the_sandbox_has(factory: SandboxFactory) -> None:
    with open_session(factory, IMAGE, changed(wall_s=0.5)) as box:
        assert python(box, SLEEP, wall_s=100).timed_out


def test_processes(box: Session) -> None:
    count = """
import os, signal
children = []
try:
    while True:
        children.append(os.fork())
        if children[-1] == 0:
            signal.pause()
except OSError as error:
    print(len(children), error.strerror)
"""
    # 32: the supervisor, the program itself, and the thirty that it could start.
    assert python(box, count).stdout == b"30 Resource temporarily unavailable\n"
    assert python(box, FORK_BOMB, wall_s=1).timed_out
    assert works(box)


def test_processors(factory: SandboxFactory) -> None:
    with open_session(factory, IMAGE, changed(cpus=0.5)) as box:
        result = python(box, SPIN)
    # Two processes spin for 1.5 s each on half a processor; a tenth more for the period in which a quota is counted.
    assert 0 < float(result.stdout) <= 1.5 * 0.5 + 0.35


ESCAPE = """
import json, os, threading
def tried():
    for cores in (range(os.cpu_count()), [0], [os.cpu_count() - 1]):
        for who in (0, os.getpid(), threading.get_native_id()):
            try:
                os.sched_setaffinity(who, cores)
            except OSError:
                pass
    found.append(sorted(os.sched_getaffinity(0)))
found = []
tried()
thread = threading.Thread(target=tried)
thread.start()
thread.join()
if os.fork() == 0:
    tried()
    print(json.dumps(found))
else:
    os.wait()
"""


def test_cores(grouped: SandboxFactory) -> None:
    ours = sorted(os.sched_getaffinity(0))
    for core in {ours[0], ours[-1]}:
        with open_session(grouped, IMAGE, dataclasses.replace(SMALL, cores=(core,))) as box:
            assert json.loads(python(box, ESCAPE).stdout) == [[core]] * 3
    with open_session(grouped, IMAGE, SMALL) as box:
        assert json.loads(python(box, ESCAPE).stdout) == [[ours[-1]]] * 3, "without cores named, it may choose"


def test_processor_seconds_are_bounded_however_the_wall_clock_is_set(box: Session) -> None:
    program = "import resource; print(resource.getrlimit(resource.RLIMIT_CPU))"
    bound = int(SMALL.wall_s * SMALL.cpus) + 5
    assert python(box, program).stdout == f"({bound}, {bound})\n".encode()


def test_output(box: Session) -> None:
    result = python(box, FLOOD)
    assert result.flooded
    assert len(result.stdout) == SMALL.output_bytes
    assert works(box)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_of_each_stream_to_the_byte(box: Session, stream: str) -> None:
    program = f"import sys; sys.{stream}.write('a' * {{}} + 'last words'); sys.{stream}.flush()"
    full = python(box, program.format(SMALL.output_bytes - 10))
    assert full.succeeded
    assert len(getattr(full, stream)) == SMALL.output_bytes
    over = python(box, program.format(SMALL.output_bytes - 9))
    assert over.flooded
    assert not over.succeeded
    assert len(getattr(over, stream)) <= SMALL.output_bytes
    assert works(box)


def test_the_tail_of_the_output_is_what_is_kept(box: Session) -> None:
    result = python(box, "import os; os.write(1, b'a' * 99_990); os.write(1, b'last words, and then some\\n')")
    assert result.flooded
    assert len(result.stdout) == SMALL.output_bytes
    assert result.stdout.endswith(b"alast words, and then some\n")


def test_file_size(box: Session) -> None:
    write = "open('/scratch/big', 'wb', buffering=0).write(b'x' * {size})"
    assert python(box, f"n = {write.format(size=SMALL.file_bytes)}; print(n)").stdout == b"%d\n" % SMALL.file_bytes
    # One byte more: the kernel sends SIGXFSZ, which Python ignores, so that the write fails; and it stops at the bound.
    assert python(box, "open('/scratch/big', 'ab', buffering=0).write(b'x')").stderr.endswith(b"File too large\n")
    assert len(box.get("/scratch/big", max_bytes=SMALL.file_bytes)) == SMALL.file_bytes
    assert works(box)


def test_scratch_size(box: Session) -> None:
    fill = """
n = 0
try:
    for i in range(20):
        n += open(f"/scratch/{i}", "wb", buffering=0).write(b"x" * (4 << 20))
except OSError as error:
    print(error.strerror)
import os
print(sum(os.stat(f"/scratch/{i}").st_blocks * 512 for i in range(20) if os.path.exists(f"/scratch/{i}")))
"""
    said, used = python(box, fill).stdout.decode().splitlines()
    assert said == "No space left on device"
    # The program itself takes a page, too.
    assert SMALL.scratch_bytes - 3 * 4096 <= int(used) < SMALL.scratch_bytes
    with pytest.raises(SandboxError, match="No space left"):
        box.put("/scratch/more", b"x" * (20 * MIB))


@pytest.mark.parametrize("place", ["/scratch", "/tmp", "/dev/shm"])
def test_number_of_files(factory: SandboxFactory, place: str) -> None:
    program = f"""
n = 0
try:
    while n < 1000:
        open(f"{place}/{{n}}", "w").close()
        n += 1
except OSError as error:
    print(n, error.strerror)
"""
    with open_session(factory, IMAGE, changed(scratch_files=100)) as box:
        said = python(box, program).stdout.decode()
    # The place itself counts, and in /scratch the program.
    assert said == f"{98 if place == '/scratch' else 99} No space left on device\n"


def test_open_files(factory: SandboxFactory) -> None:
    program = """
f = []
try:
    while True:
        f.append(open("/dev/null"))
except OSError as error:
    print(f[-1].fileno() + 1, error.strerror)
"""
    with open_session(factory, IMAGE, changed(open_files=20)) as box:
        assert python(box, program).stdout == b"20 Too many open files\n"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        ("pass", "No such file"),
        ("import os; os.symlink('/etc/passwd', '/scratch/out')", "symbolic links"),
        ("import os; os.mkdir('/scratch/out')", "not a regular file"),
        ("import os; os.mkfifo('/scratch/out')", "not a regular file"),
        ("open('/scratch/out', 'wb').truncate(1001)", "larger than"),
        ("import socket; socket.socket(socket.AF_UNIX).bind('/scratch/out')", "No such device"),
    ],
)
def test_get_refuses(box: Session, make: str, reason: str) -> None:
    python(box, make)
    with pytest.raises(FileRefused, match=reason):
        box.get("/scratch/out", max_bytes=1000)
    assert works(box)


def test_files_go_in_and_come_out_unchanged(box: Session) -> None:
    for data in (b"", b"\n", bytes(range(256)) * 4096):
        box.put("/scratch/deep/er/file", data)
        assert box.get("/scratch/deep/er/file", max_bytes=len(data)) == data
