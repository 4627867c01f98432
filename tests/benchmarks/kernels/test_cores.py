"""The cores before the clock runs: our threads gone, and each thread of a program on a core of its own."""

import os
import subprocess
import sys

import pytest
import torch

from benchmarks.kernels import cores

CORES = sorted(os.sched_getaffinity(0))
TWO_THREADS = """
import threading, time
stop = time.monotonic() + 0.3
def work():
    while time.monotonic() < stop: pass
other = threading.Thread(target=work)
idle = threading.Thread(target=threading.Event().wait, daemon=True)
other.start(); idle.start(); work()
print("worked", flush=True)
time.sleep(60)
"""


def threads_of(pid):
    return {int(name) for name in os.listdir(f"/proc/{pid}/task")}


def test_our_worker_threads_end_and_come_back():
    x = torch.ones(2048, 2048)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        x.exp()
        busy = threads_of(os.getpid())
        cores.rest()
        rested = threads_of(os.getpid())
        if not cores._pauses():
            pytest.skip("this build of torch has no OpenMP that can be paused")
        assert rested < busy
        assert torch.equal(x.exp(), torch.exp(x))
    finally:
        torch.set_num_threads(before)


def test_as_many_cores_are_chosen_as_there_are_and_no_more():
    assert set(cores.chosen(2)) <= set(CORES)
    assert len(cores.chosen(2)) == min(2, len(CORES))
    cores.rouse(2)
    # Only the threads that spin are bound to a core, not the one that asked.
    assert sorted(os.sched_getaffinity(0)) == CORES


def test_the_busiest_threads_get_a_core_each_and_can_go_anywhere_afterwards():
    with subprocess.Popen([sys.executable, "-S", "-c", TWO_THREADS], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"worked\n"
            threads = threads_of(process.pid) if process.poll() is None else set()
            before = cores.spread([process.pid], 2)
            bound = {thread: os.sched_getaffinity(thread) for thread in before}
            assert set(before) <= threads
            assert process.pid in before
            assert sorted(min(c) for c in bound.values()) == sorted(cores.chosen(2))[: len(bound)]
            cores.release(before)
            assert all(os.sched_getaffinity(thread) == set(CORES) for thread in threads)
        finally:
            process.kill()


def test_a_process_that_has_ended_is_left_out():
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    assert cores.spread([process.pid], 2) == {}
    cores.release({process.pid: set(CORES)})
