"""The charge that is most frequent in training, for every case: what knowing nothing is worth."""

from collections import Counter


def predict(train, cases, charges, model):
    """The charge of each case, in order."""
    [(charge, _)] = Counter(row["charge"] for row in train).most_common(1)
    return [charge] * len(cases)
