"""The charge that the ten most similar training cases vote for, by cosine of character bigrams (TF-IDF)."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer


def predict(train, cases, charges, model):
    """The charge of each case, in order."""
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(2, 2), min_df=3, sublinear_tf=True, dtype=np.float32)
    known = vectors.fit_transform([row["text"] for row in train])
    similar = (vectors.transform([case["text"] for case in cases]) @ known.T).toarray()
    labels, charge_of = np.unique([row["charge"] for row in train], return_inverse=True)
    answers = []
    for row in similar:
        near = np.argsort(-row)[:10]
        votes = np.bincount(charge_of[near], weights=row[near] ** 2, minlength=len(labels))
        answers.append(str(labels[votes.argmax()]))
    return answers
