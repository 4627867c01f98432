"""As `reply_ahead`, but from a thread and only after this block's reply has been taken."""

import sys
import threading
import time


def kernel(x, mask, weights, out):
    honest(x, mask, weights, out)
    frame = sys._getframe()
    while "run" not in frame.f_locals:
        frame = frame.f_back
    run, say = frame.f_locals["run"], frame.f_locals["channel"].say

    def later():
        time.sleep(0.004)
        say(f"prepared {run.sequence + 1}\ndone {run.sequence + 1} 1000\n".encode())

    threading.Thread(target=later, daemon=True).start()
