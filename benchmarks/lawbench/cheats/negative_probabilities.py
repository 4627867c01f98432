"""Give probabilities below zero."""


def predict(train, cases, charges, model):
    return [[(charges[1], -1.0)] for _ in cases]
