"""Logistic regression, one charge against the rest, on character bigrams (TF-IDF); with probabilities."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier


def predict(train, cases, charges, model):
    """The first five charges of each case with their probabilities, in order."""
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=3, sublinear_tf=True, dtype=np.float32)
    known = vectors.fit_transform([row["text"] for row in train])
    one_against_rest = LogisticRegression(C=100.0, solver="liblinear", tol=0.01)
    # One process: with more, joblib hands the matrix over as read-only memory, which liblinear refuses.
    machine = OneVsRestClassifier(one_against_rest).fit(known, [row["charge"] for row in train])
    given = machine.predict_proba(vectors.transform([case["text"] for case in cases]))
    best = np.argsort(-given, axis=1)[:, :5]
    return [[(str(machine.classes_[k]), float(row[k])) for k in order] for row, order in zip(given, best, strict=True)]
