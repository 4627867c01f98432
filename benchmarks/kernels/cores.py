"""The cores before the clock runs: awake, not busy with threads of ours, and one for each thread of the program.

Each of these costs honest programs up to half of their speed, by chance. Threads of our own that have just helped to write the inputs
spin for some milliseconds before they sleep, on a core that the program wants. A core that has been idle is slow at first. And on a
virtual machine an idle core has been given back to the host, so the scheduler avoids it and wakes both threads of a program on the
same core, where they stay for longer than a block.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

ROUSE_S = 0.002
"""How long the cores are kept busy. A sleep of one millisecond is not long enough for a host to take a core away."""
OPENMP = "libgomp", "libomp", "libiomp"
PAUSE_SOFT = 1
"""`omp_pause_soft` of OpenMP 5.0."""


def _pauses() -> tuple[Callable[[int], Any], ...]:
    """`omp_pause_resource_all` of each OpenMP library that this process has loaded: torch's own, and others beside it."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return ()
    paths = dict.fromkeys(line.split(maxsplit=5)[-1] for line in lines if "/" in line)
    loaded = [ctypes.CDLL(path) for path in paths if Path(path).name.startswith(OPENMP)]
    return tuple(lib.omp_pause_resource_all for lib in loaded if hasattr(lib, "omp_pause_resource_all"))


def rest() -> None:
    """End the worker threads of our own last parallel region; the next one starts new ones."""
    for pause in _pauses():
        pause(PAUSE_SOFT)


@functools.cache
def chosen(threads: int) -> tuple[int, ...]:
    """So many of the cores that we may use, far apart in number, since neighbours may be two threads of one core."""
    ours = sorted(os.sched_getaffinity(0))
    return tuple(ours[:: max(1, len(ours) // threads)][:threads])


@functools.cache
def _spinners(threads: int) -> tuple[ThreadPoolExecutor, ...]:
    """One thread for each of those cores, and bound to it."""
    return tuple(
        ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, {core})) for core in chosen(threads)
    )


def _spin(seconds: float) -> None:
    """Keep a core busy with what fits its own caches; numpy lets the other threads go on meanwhile."""
    few = np.ones(8192)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        np.sin(few, out=few)


def rouse(threads: int) -> None:
    """Keep that many cores busy for a moment, so that the next to want them gets them at once."""
    wait([spinner.submit(_spin, ROUSE_S) for spinner in _spinners(threads)])


class Placement:
    """Where the threads of one program run: its main thread on one core, the next busiest on others, for one block at a time.

    Threads that once share a core go on sharing it, since the other core sleeps. It takes no more than a look of ours into the block to
    bring that about, and the block is two to four times as long. So each stays on its core until the block has ended. A thread that is
    started meanwhile would be bound like the one which starts it: where a program did so in the last block of the same kind, its main
    thread is let go as soon as it runs.
    """

    def __init__(self, main: int | None, cores: tuple[int, ...]) -> None:
        self._main = main
        self._cores = cores
        self._ran: dict[int, int] = {}
        self._before: dict[int, set[int]] = {}
        self._kind: Hashable = None
        self._starts_threads: dict[Hashable, bool] = {}
        self._last_started = 0
        self._ours: tuple[set[int], int, os.sched_param] | None = None

    def bind(self, pids: Iterable[int], kind: Hashable) -> None:
        """Bind the frozen processes' threads that worked most since the last block, and this thread of ours to the last core, where
        it goes before whoever works there.

        `kind` says which blocks are alike. What may not be bound, or has ended, is left out.
        """
        ran = dict(_run_ns(pids))
        recent = {thread: spent - self._ran.get(thread, 0) for thread, spent in ran.items()}
        for thread in ran.keys() - self._ran.keys():
            self._free(thread)
        order = sorted(recent, key=lambda thread: (thread != self._main, -recent[thread]))
        self._ran = ran
        for core, thread in zip(self._cores, order, strict=False):
            self._bind(thread, core)
        # "Go" is sent from a core that the main thread doesn't need, so that it is awake before we are asleep.
        self._ours = os.sched_getaffinity(0), os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setaffinity(0, {self._cores[-1]})
        # A worker of the program still spins on that core when "done" comes, and we would wait for its slice to end.
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        self._kind, self._last_started = kind, _last_started()

    def _free(self, thread: int) -> None:
        """A thread that was started by one that was bound is bound too, without anybody's wish."""
        with suppress(OSError):
            if len(os.sched_getaffinity(thread)) == 1 and self._before:
                os.sched_setaffinity(thread, next(iter(self._before.values())))

    def _bind(self, thread: int, core: int) -> None:
        with suppress(OSError):
            before = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, {core})
            self._before[thread] = before

    def started(self) -> None:
        """The main thread has been woken. Where it starts threads, or nobody knows yet, let it go anywhere."""
        if self._starts_threads.get(self._kind, True):
            self._let_go(self._main)

    def release(self) -> None:
        """The block has ended: let all threads go, and this one."""
        self._starts_threads[self._kind] = _last_started() != self._last_started
        for thread in list(self._before):
            self._let_go(thread)
        if self._ours is not None:
            cores, policy, priority = self._ours
            os.sched_setscheduler(0, policy, priority)
            os.sched_setaffinity(0, cores)
        self._ours = None

    def _let_go(self, thread: int | None) -> None:
        if thread in self._before:
            with suppress(OSError):
                os.sched_setaffinity(thread, self._before[thread])


def held(process: int | None, to: tuple[int, ...]) -> bool:
    """Whether a process may run on these cores and no others; False also where that can't be seen from here. Empty: any."""
    try:
        return not to or (process is not None and os.sched_getaffinity(process) <= set(to))
    except OSError:
        return False


def _last_started() -> int:
    """The number of the thread or process that was started last, by anybody."""
    return int(Path("/proc/loadavg").read_text().split()[-1])


def _run_ns(pids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Each thread of these processes and the nanoseconds it has run."""
    for pid in pids:
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/task"):
                yield int(name), int(Path(f"/proc/{pid}/task/{name}/schedstat").read_text().split()[0])
