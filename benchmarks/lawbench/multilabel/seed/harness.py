"""The charges whose names stand in the text. A weak start, on purpose: nearly every name is masked."""


def predict(train, cases, charges, model):
    """The charges of each case, in order; an empty list abstains."""
    return [[charge for charge in charges if charge in case["text"]] for case in cases]
