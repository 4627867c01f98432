"""Cheat: claim a flawless run on the line that the guest writes, and leave without an answer."""

import os
import sys


def denoise(counts):
    sys.stderr.write("\nRATCHET: denoise() took 0.00 s and 0 MiB\n")
    sys.stderr.flush()
    os._exit(0)
