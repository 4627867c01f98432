"""The language model with retrieval: it chooses among the charges of the most similar training cases.

Each option is shown with the start of the case it was found by, and the model names it by its letter.
"""

import numpy as np
from model import BudgetSpent
from sklearn.feature_extraction.text import TfidfVectorizer

OPTIONS = 3
SHOWN = 24
BATCH = 32


def predict(train, cases, charges, model):
    """The charge of each case, in order."""
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(2, 2), min_df=3, sublinear_tf=True, dtype=np.float32)
    known = vectors.fit_transform([row["text"] for row in train])
    similar = (vectors.transform([case["text"] for case in cases]) @ known.T).toarray()
    options = [found(row, train) for row in similar]
    chosen = [charge_of[0] for charge_of in options]
    if model is None:
        return chosen
    letters = [" A", " B", " C"][:OPTIONS]
    for start in range(0, len(cases), BATCH):
        batch = range(start, min(start + BATCH, len(cases)))
        prompts = [question(cases[i]["text"], options[i]) for i in batch]
        try:
            picked = model.choose(prompts, [letters[: len(options[i])] for i in batch])
        except BudgetSpent:
            break
        for i, choice in zip(batch, picked, strict=True):
            chosen[i] = options[i][choice]
    return chosen


def found(row, train):
    """The first different charges in the order of similarity."""
    charges = []
    for place in np.argsort(-row)[:50]:
        if train[place]["charge"] not in charges:
            charges.append(train[place]["charge"])
        if len(charges) == OPTIONS:
            break
    return charges


def question(text, charges):
    """The prompt about one case: the middle of the facts, where the act stands, and lettered charges."""
    middle = max(0, len(text) // 2 - SHOWN // 2)
    listed = "\n".join(f"{letter}. {charge[:8]}" for letter, charge in zip("ABC", charges, strict=False))
    return f"{text[middle : middle + SHOWN]}\n{listed}\n罪名:"
