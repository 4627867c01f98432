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
from collections.abc import Callable, Iterable, Mapping
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


def spread(pids: Iterable[int], threads: int) -> dict[int, set[int]]:
    """Bind the busiest threads of frozen processes to a core each, so that they don't all wake up on one.

    Returns what each was bound to before, for `release`. What may not be bound, or has ended, is left out.
    """
    busy: list[tuple[int, int]] = []
    for pid in pids:
        try:
            for name in os.listdir(f"/proc/{pid}/task"):
                run_ns = Path(f"/proc/{pid}/task/{name}/schedstat").read_text().split()[0]
                busy.append((int(run_ns), int(name)))
        except OSError:
            continue
    before = {}
    for core, (_, thread) in zip(chosen(threads), sorted(busy, reverse=True), strict=False):
        try:
            before[thread] = os.sched_getaffinity(thread)
            os.sched_setaffinity(thread, {core})
        except OSError:
            continue
    return before


def release(before: Mapping[int, set[int]]) -> None:
    """Let threads go to any core again; they stay where they are until there is a reason to move."""
    for thread, cores in before.items():
        with suppress(OSError):
            os.sched_setaffinity(thread, cores)
