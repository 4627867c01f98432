"""The cores before the clock runs: awake, and not busy with threads of ours.

Both cost honest programs up to half of their speed, more or less by chance. Threads of our own that have just helped to write the
inputs spin for some milliseconds before they sleep, on a core that the program wants. And on a virtual machine a core that has been
idle for ten milliseconds has been given back to the host: the scheduler avoids it, and puts both threads of a program on the other.
"""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

ROUSE_S = 0.002
"""How long the cores are kept busy. A sleep of one millisecond is not long enough for a host to take a core away."""
OPENMP = "libgomp", "libomp", "libiomp"
PAUSE_SOFT = 1
"""`omp_pause_soft` of OpenMP 5.0."""


@functools.cache
def _pause() -> Callable[[int], Any] | None:
    """`omp_pause_resource_all` of the OpenMP library that this process (torch) has loaded, or None."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    for path in dict.fromkeys(line.split(maxsplit=5)[-1] for line in lines if "/" in line):
        if Path(path).name.startswith(OPENMP):
            pause = getattr(ctypes.CDLL(path), "omp_pause_resource_all", None)
            if pause is not None:
                return pause  # type: ignore[no-any-return]
    return None


def rest() -> None:
    """End the worker threads of our own last parallel region; the next one starts new ones."""
    pause = _pause()
    if pause is not None:
        pause(PAUSE_SOFT)


@functools.cache
def _spinners(threads: int) -> tuple[ThreadPoolExecutor, ...]:
    """One thread for each of so many cores, and bound to it."""
    cores = sorted(os.sched_getaffinity(0))[:threads]
    return tuple(ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, {core})) for core in cores)


def _spin(seconds: float) -> None:
    """Keep a core busy with what fits its own caches; numpy lets the other threads go on meanwhile."""
    few = np.ones(8192)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        np.sin(few, out=few)


def rouse(threads: int) -> None:
    """Keep that many cores busy for a moment, so that the next to want them gets them at once."""
    wait([spinner.submit(_spin, ROUSE_S) for spinner in _spinners(threads)])
