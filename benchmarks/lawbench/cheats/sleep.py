"""Sleep for ever, with every signal that can be ignored ignored."""

import signal
import time


def predict(train, cases, charges, model):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(3600)
