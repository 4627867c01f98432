"""The cores before the clock runs: our threads gone, and each thread of a program on a core of its own."""

import os
import subprocess
import sys
import threading

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


def test_who_is_held_to_cores():
    assert cores.held(os.getpid(), tuple(CORES))
    assert cores.held(os.getpid(), ())
    assert not cores.held(os.getpid(), (CORES[-1] + 1,))


@pytest.mark.parametrize("nobody", [None, 2**30])
def test_who_can_not_be_seen_is_not_said_to_be_held(nobody):
    assert not cores.held(nobody, tuple(CORES))


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


@pytest.fixture
def two_threads():
    with subprocess.Popen([sys.executable, "-S", "-c", TWO_THREADS], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"worked\n"
            yield process.pid
        finally:
            process.kill()


def where(threads):
    return {thread: os.sched_getaffinity(thread) for thread in threads}


def goes_first():
    """Whether this thread of ours goes before all ordinary ones."""
    return bool(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK)


@pytest.fixture
def may_go_first():
    """Whether this machine lets us: root may, but not in every container."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def test_the_main_thread_and_the_busiest_get_a_core_each_and_can_go_anywhere_afterwards(two_threads, may_go_first):
    threads = threads_of(two_threads)
    placement = cores.Placement(two_threads, cores.chosen(2))
    placement.bind([two_threads], "shape")
    bound = {thread: core for thread, core in where(threads).items() if len(core) == 1}
    assert sorted(min(c) for c in bound.values()) == sorted(cores.chosen(2))[: len(bound)]
    assert bound[two_threads] == {cores.chosen(2)[0]}
    # "Go" is said from a core that the main thread does not need.
    assert os.sched_getaffinity(0) == {cores.chosen(2)[-1]}
    # And where we may, we go before a worker that spins on that core when "done" comes.
    assert goes_first() == may_go_first
    placement.started()
    assert os.sched_getaffinity(two_threads) == set(CORES)
    assert [core for thread, core in where(threads).items() if thread != two_threads] == [
        bound.get(thread, set(CORES)) for thread in where(threads) if thread != two_threads
    ]
    placement.release()
    assert all(core == set(CORES) for core in where(threads).values())
    assert not goes_first()
    assert sorted(os.sched_getaffinity(0)) == CORES


def test_a_wish_of_the_program_s_own_is_kept(two_threads):
    wish = {CORES[-1]}
    os.sched_setaffinity(two_threads, wish)
    placement = cores.Placement(two_threads, cores.chosen(2))
    for _ in range(2):
        placement.bind([two_threads], "shape")
        placement.started()
        placement.release()
        assert os.sched_getaffinity(two_threads) == wish


STARTS_ONE = """
import sys, threading
print("here", flush=True)
sys.stdin.readline()
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("started", flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(len(CORES) < 2, reason="one core is no choice")
def test_a_thread_that_a_bound_one_started_is_not_bound_for_good():
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-S", "-c", STARTS_ONE], stdin=pipe, stdout=pipe) as process:
        try:
            assert process.stdout.readline() == b"here\n"
            placement = cores.Placement(process.pid, cores.chosen(2))
            placement.bind([process.pid], "shape")
            process.stdin.write(b"go\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"started\n"
            placement.started()
            placement.release()
            [new] = threads_of(process.pid) - {process.pid}
            assert len(os.sched_getaffinity(new)) == 1, "it inherited the one core"
            placement.bind([process.pid], "shape")
            placement.started()
            placement.release()
            assert os.sched_getaffinity(new) == set(CORES)
        finally:
            process.kill()


@pytest.mark.skipif(len(CORES) < 2, reason="one core is no choice")
def test_who_starts_no_threads_stays_on_its_core_for_the_block(two_threads, monkeypatch):
    placement = cores.Placement(two_threads, cores.chosen(2))
    numbers = iter([1, 1, 2, 3, 3, 3, 4, 4])
    monkeypatch.setattr(cores, "_last_started", lambda: next(numbers))

    def held(kind):
        placement.bind([two_threads], kind)
        placement.started()
        stays = os.sched_getaffinity(two_threads) == {cores.chosen(2)[0]}
        placement.release()
        assert os.sched_getaffinity(two_threads) == set(CORES)
        return stays

    assert not held("shape"), "nobody knows yet"
    assert held("shape"), "it started none in the last block; in this one it does"
    assert not held("shape")
    assert not held("another shape")


def test_a_thread_that_starts_is_noticed_though_it_has_ended():
    before = cores._last_started()
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert cores._last_started() > before


def test_a_process_that_has_ended_is_left_out():
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    placement = cores.Placement(process.pid, cores.chosen(2))
    placement.bind([process.pid], "shape")
    placement.started()
    placement.release()
    assert sorted(os.sched_getaffinity(0)) == CORES


def test_our_own_thread_is_scheduled_as_before():
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        placement = cores.Placement(None, cores.chosen(2))
        placement.bind([], "shape")
        placement.release()
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
