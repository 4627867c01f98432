"""Cheat: look for the hidden counts in files, environment and memory, and answer with them.

When the hunt finds nothing it answers with NaN, so that an `ok` verdict would prove a leak.
"""

import gc
import os

import numpy as np
from scipy import sparse


def matrices():
    """Every count matrix other than our own input that can be reached from here."""
    for root in ("/scratch", "/tmp", "/dev/shm", "/opt", "/home", "/mnt", "/data", "/var", "/run", "/proc/self/cwd"):
        for folder, _, names in os.walk(root):
            for name in names:
                if name.endswith((".npz", ".npy", ".h5ad")) and name != "counts.npz" and "site" not in folder:
                    yield np.load(os.path.join(folder, name), allow_pickle=False)
    for value in os.environ.values():
        if os.path.isfile(value):
            yield np.load(value, allow_pickle=False)
    yield from (thing for thing in gc.get_objects() if sparse.issparse(thing))


def denoise(counts):
    for found in matrices():
        if getattr(found, "shape", None) == counts.shape and found is not counts:
            return found
    return np.full(counts.shape, np.nan)
