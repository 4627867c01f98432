"""A linear SVM on character n-grams that learned from cases with one charge; a second one where its margin is close."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

CLOSE = 0.25
"""How far below the first a margin may be to be named too; a guess, not tuned."""


def predict(train, cases, charges, model):
    """The charges of each case, in order."""
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=3, sublinear_tf=True, dtype=np.float32)
    known = vectors.fit_transform([row["text"] for row in train])
    machine = LinearSVC(C=1.0, tol=0.1).fit(known, [row["charge"] for row in train])
    answers = []
    for margins in machine.decision_function(vectors.transform([case["text"] for case in cases])):
        first, second = np.argsort(-margins)[:2]
        chosen = [first, second] if margins[first] - margins[second] < CLOSE else [first]
        answers.append([str(machine.classes_[column]) for column in chosen])
    return answers
