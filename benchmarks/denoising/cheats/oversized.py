"""Cheat: a file larger than any prediction, to fill the evaluator's memory."""

import os


def denoise(counts):
    with open("/scratch/prediction.npy", "wb") as file:
        file.truncate(40 * 1024 * 1024)
    os._exit(0)
