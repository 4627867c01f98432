"""Each limit bites, the result says which one, and the sandbox (and the next one) still works."""

from __future__ import annotations

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
MEMORY_BOMB = "x = bytearray(1 << 30); print(len(x))"
FLOOD = "while True: print('x' * 1000)"
SLEEP = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"


def python(box: Session, program: str, wall_s: float | None = None) -> ExecResult:
    box.put("/scratch/program.py", program.encode())
    return box.exec(["python3", "/scratch/program.py"], wall_s=wall_s)


def works(box: Session) -> bool:
    return python(box, "print('fine')").stdout == b"fine\n"


def test_memory(box: Session) -> None:
    result = python(box, MEMORY_BOMB)
    assert result.oom
    assert not result.succeeded
    assert works(box)


def test_a_kill_is_not_taken_for_memory(box: Session) -> None:
    result = python(box, "import os; os.kill(os.getpid(), 9)")
    assert (result.signal, result.oom, result.timed_out) == (9, False, False)


def test_wall_clock(box: Session) -> None:
    result = python(box, SLEEP, wall_s=0.5)
    assert result.timed_out
    assert result.wall_s < 3
    assert works(box)


def test_processes(box: Session) -> None:
    assert python(box, FORK_BOMB, wall_s=1).timed_out
    assert works(box)


def test_output(box: Session) -> None:
    result = python(box, FLOOD)
    assert result.flooded
    assert len(result.stdout) == SMALL.output_bytes
    assert works(box)


def test_the_tail_of_the_output_is_what_is_kept(box: Session) -> None:
    result = python(box, "print('a' * 99_990, flush=True); print('last words')")
    assert result.stdout.endswith(b"last words\n")


def test_file_size(box: Session) -> None:
    assert python(box, "open('/scratch/big', 'wb').write(b'x' * (40 << 20))").exit_code != 0
    assert works(box)


def test_scratch_size(box: Session) -> None:
    fill = "for i in range(9): open(f'/scratch/{i}', 'wb').write(b'x' * (10 << 20))"
    result = python(box, fill)
    assert b"No space left" in result.stderr
    with pytest.raises(SandboxError, match="No space left"):
        box.put("/scratch/more", b"x" * (20 * MIB))


def test_open_files(factory: SandboxFactory) -> None:
    with open_session(factory, IMAGE, Limits(**{**SMALL.__dict__, "open_files": 20})) as box:
        assert b"Too many open files" in python(box, "f = [open('/dev/null') for _ in range(100)]").stderr


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        ("pass", "No such file"),
        ("import os; os.symlink('/etc/passwd', '/scratch/out')", "symbolic links"),
        ("import os; os.mkdir('/scratch/out')", "not a regular file"),
        ("import os; os.mkfifo('/scratch/out')", "not a regular file"),
        ("open('/scratch/out', 'wb').truncate(1 << 20)", "larger than"),
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
        assert box.get("/scratch/deep/er/file", max_bytes=1 << 20) == data
