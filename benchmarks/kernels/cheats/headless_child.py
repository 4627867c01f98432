"""As `busy_child`, in a process whose first thread has ended: it looks dead in the list of processes, and isn't."""

import ctypes
import os
import threading


def burn():
    while True:
        pass


if os.fork() == 0:
    threading.Thread(target=burn).start()
    ctypes.CDLL(None).pthread_exit(None)


def kernel(x, mask, weights, out):
    honest(x, mask, weights, out)
