"""CPU time is read from the kernel's books, and of the other end of a socket."""

import os
import socket
import time

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
