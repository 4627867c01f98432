"""CPU time is read from the kernel's books, and of the other end of a socket."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from benchmarks.kernels import idle


def test_the_other_end_is_known():
    here, there = socket.socketpair()
    with here, there:
        assert idle.peer_pid(here) == os.getpid()


def test_work_shows_in_the_books_and_waiting_does_not():
    before = idle.cpu_seconds([os.getpid()])[os.getpid()]
    began = time.process_time()
    while time.process_time() - began < 0.2:
        pass
    assert idle.cpu_seconds([os.getpid()])[os.getpid()] - before > 0.1


def test_a_process_that_is_gone_is_left_out():
    assert idle.cpu_seconds([2**30]) == {}


@contextlib.contextmanager
def under_a_shell(*argv):
    """A shell in the place of the supervisor, and a program below it; neither is left."""
    root = subprocess.Popen(["/bin/sh", "-c", '"$@" & wait', "sh", *map(str, argv)], start_new_session=True)
    try:
        yield root
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(root.pid, signal.SIGKILL)
        root.wait()


def test_a_frozen_tree_stands_still_and_goes_on(tmp_path):
    # A process with a child: both write without end.
    counts = [tmp_path / "child", tmp_path / "grandchild"]
    loop = "import os, sys\nif os.fork() == 0:\n    sys.argv[1] = sys.argv[2]\nwhile True:\n    open(sys.argv[1], 'a').write('.')"
    with under_a_shell(sys.executable, "-c", loop, *counts) as root:
        assert grows(counts)
        frozen = idle.freeze(root.pid)
        assert len(frozen) == 2
        before = sizes(counts)
        cpu = idle.cpu_seconds([root.pid])[root.pid]
        burn(0.2)
        assert sizes(counts) == before
        assert idle.cpu_seconds([root.pid])[root.pid] == cpu
        idle.thaw(frozen)
        assert grows(counts)
        assert idle.freeze(root.pid) == frozen
        idle.kill(root.pid)
        # Its children are gone, so the shell has nothing left to wait for.
        root.wait(timeout=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may go before all others")
def test_a_process_that_waits_for_a_core_is_given_the_time_to_stop(tmp_path):
    """It takes the signal when it runs next. A thread that goes before all others leaves it a twentieth of each second."""
    count = tmp_path / "count"
    loop = "import sys\nwhile True:\n    open(sys.argv[1], 'a').write('.')"
    on_one_core = ["taskset", "--cpu-list", max(os.sched_getaffinity(0))]
    with under_a_shell(*on_one_core, sys.executable, "-c", loop, count) as root:
        assert grows([count])
        with under_a_shell(*on_one_core, "chrt", "--fifo", "1", sys.executable, "-c", "while True: pass"):
            time.sleep(0.2)
            assert len(idle.freeze(root.pid)) == 1
            before = sizes([count])
        burn(0.2)
        assert sizes([count]) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may go before all others")
def test_who_is_killed_has_ended_also_where_it_has_to_wait_for_a_core():
    on_one_core = ["taskset", "--cpu-list", max(os.sched_getaffinity(0))]
    with under_a_shell(*on_one_core, sys.executable, "-c", "import time; time.sleep(100)") as root:
        time.sleep(0.2)
        with under_a_shell(*on_one_core, "chrt", "--fifo", "1", sys.executable, "-c", "while True: pass"):
            time.sleep(0.2)
            [child] = idle.freeze(root.pid)
            idle.kill(root.pid)
            assert not idle._runs(child)


def test_a_process_whose_first_thread_has_ended_is_frozen_too(tmp_path):
    count = tmp_path / "count"
    headless = (
        "import ctypes, sys, threading\n"
        "def write():\n    while True: open(sys.argv[1], 'a').write('.')\n"
        "threading.Thread(target=write).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    with under_a_shell(sys.executable, "-c", headless, count) as root:
        assert grows([count])
        assert len(idle.freeze(root.pid)) == 1
        before = sizes([count])
        burn(0.2)
        assert sizes([count]) == before


def sizes(paths):
    return [path.stat().st_size if path.exists() else 0 for path in paths]


def grows(paths):
    """True as soon as both have grown; False after ten seconds."""
    before, deadline = sizes(paths), time.monotonic() + 10
    while time.monotonic() < deadline:
        if all(now > then for now, then in zip(sizes(paths), before, strict=True)):
            return True
    return False


def burn(seconds):
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def test_a_tree_that_is_gone_is_frozen():
    assert idle.freeze(2**30) == []
    idle.thaw([2**30])
