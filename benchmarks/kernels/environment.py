"""The environment that every timed program starts in, so that chance deals no program other threads or another heap.

`preload.json` of the images says the same, or an interpreter that was started ahead could not be used; a test holds them equal.
"""

from benchmarks.kernels.memory import THREADS

ENVIRONMENT = {
    "OMP_NUM_THREADS": str(THREADS),
    "MKL_NUM_THREADS": str(THREADS),
    "OPENBLAS_NUM_THREADS": str(THREADS),
    # Idle workers spin for about a tenth of a millisecond, so that those of one launch are awake for the next, as they are in a
    # loop under `timeit`. By default they would for some milliseconds, which looks like work after the end of a block.
    "GOMP_SPINCOUNT": "10000",
    # Memory that a program allocates comes from one heap that is never given back. By default glibc maps large pieces anew each
    # time, or not, by what was freed before, and the same program is then up to 3.6 times slower in one process than in the next.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
    "PYTHONUNBUFFERED": "1",
}
