"""Give one charge on every rank."""


def predict(train, cases, charges, model):
    return [[charges[1]] * 5 for _ in cases]
