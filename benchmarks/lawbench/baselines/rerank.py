"""A trained re-ranker over the short list of a kernel classifier; no language model.

Four views say how much a case is like a charge: kernel ridge regression on character 1-3 grams, the charge's mean text,
its most similar cases, and the characters of its name. For a training case each view is taken with the case itself left
out, which ridge regression and means allow in closed form, so nothing is trained twice. A conditional logit then learns
from these how far to trust which view among the first ten charges, and its softmax is the probability that is given.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lapack
from scipy.optimize import minimize
from scipy.sparse import diags
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.preprocessing import normalize

RIDGE = 0.1
SHORT = 10


def predict(train, cases, charges, model):
    """The first five charges of each case with their probabilities, in order."""
    texts, asked = [row["text"] for row in train], [case["text"] for case in cases]
    labels, charge_of = np.unique([row["charge"] for row in train], return_inverse=True)
    members = np.eye(len(labels), dtype=np.float32)[charge_of]
    known, unknown = bm25(texts, asked)
    own, cross = (known @ known.T).toarray(), (unknown @ known.T).toarray()
    names = name_view(texts, labels)
    ridge_own, ridge_cross = ridge_views(own, cross, members)
    seen = [ridge_own, *likeness_views(own, members, leave_out=True), names(texts)]
    new = [ridge_cross, *likeness_views(cross, members), names(asked)]
    learned = fit(short_lists(seen), charge_of)
    columns, features = short_lists(new)
    answers = []
    for row, given in zip(columns, softmax(features @ learned), strict=True):
        best = np.argsort(-given, kind="stable")[:5]
        answers.append([(str(labels[row[k]]), float(given[k])) for k in best])
    return answers


def bm25(texts, asked):
    """Character 1-3 grams weighed by BM25 (Robertson and Zaragoza 2009) with rows of length 1: [train, grams], [cases, grams]."""
    counts = CountVectorizer(analyzer="char", ngram_range=(1, 3), min_df=3, dtype=np.float32)
    known = counts.fit_transform(texts).tocsr()
    unknown = counts.transform(asked).tocsr()
    in_texts = np.bincount(known.indices, minlength=known.shape[1])
    rarity = diags((np.log((1 + len(texts)) / (1 + in_texts)) + 1).astype(np.float32))
    usual = known.sum(1).mean()
    for rows in (known, unknown):
        length = np.asarray(rows.sum(1)).ravel() / usual
        rows.data *= 2.2 / (rows.data + np.repeat(1.2 * (0.25 + 0.75 * length), np.diff(rows.indptr)))
    return normalize(known @ rarity), normalize(unknown @ rarity)


def ridge_views(own, cross, members):
    """Kernel ridge regression on the charges: left-one-out values [train, charges], and values [cases, charges].

    The value of a row that is left out is target - alpha / diagonal of the inverse (Rasmussen and Williams, 5.4.2).
    """
    target = members - members.mean(0)
    factor, lower = cho_factor(own + RIDGE * np.eye(len(own), dtype=np.float32), lower=True)
    alpha = cho_solve((factor, lower), target)
    inverse, _ = lapack.spotri(factor, lower=1)
    return target - alpha / np.diag(inverse)[:, None], cross @ alpha


def likeness_views(similar, members, leave_out=False):
    """Cosine with the charge's mean text, and the logarithm of its most similar cases' votes."""
    count = members.sum(0)
    if leave_out:
        similar = similar.copy()
        np.fill_diagonal(similar, 0.0)
        count = np.maximum(1, count - members)
    votes = (similar**6) @ members
    return [(similar @ members) / count, np.log(votes + 1e-6)]


def name_view(texts, labels):
    """A function: how much of a charge's name, in characters and pairs of them, a text has [texts, charges]."""
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), binary=True, dtype=np.float32).fit(texts)
    names = vectors.transform([label.translate(str.maketrans("", "", "[]、")) for label in labels])

    def view(some):
        found = vectors.transform(some)
        found.data[:] = 1.0
        return (found @ names.T).toarray()

    return view


def short_lists(views):
    """The charges that ridge regression puts first [cases, SHORT], and their features [cases, SHORT, features]."""
    scaled = [(view - view.mean(1, keepdims=True)) / (view.std(1, keepdims=True) + 1e-9) for view in views]
    columns = np.argsort(-scaled[0], axis=1)[:, :SHORT]
    taken = [np.take_along_axis(view, columns, 1) for view in scaled]
    # How far each view puts a charge below its own best one tells more than the value alone.
    gaps = [view - view.max(1, keepdims=True) for view in taken]
    return columns, np.stack([*taken, *gaps[:1], -np.log1p(np.broadcast_to(np.arange(SHORT), columns.shape))], 2)


def softmax(scores):
    """Probabilities along the last axis."""
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def fit(lists, charge_of):
    """Weights of a conditional logit: the charge of each case among its short list, where it is in it."""
    columns, features = lists
    hit = columns == charge_of[:, None]
    rows = hit.any(1)
    features, right = features[rows].astype(np.float64), hit[rows].argmax(1)

    def loss(weights):
        given = softmax(features @ weights)
        chosen = given[np.arange(len(right)), right]
        error = given.copy()
        error[np.arange(len(right)), right] -= 1
        gradient = np.einsum("nk,nkf->f", error, features) / len(right) + 1e-3 * weights
        return -np.log(chosen + 1e-12).mean() + 5e-4 * weights @ weights, gradient

    return minimize(loss, np.zeros(features.shape[2]), jac=True, method="L-BFGS-B").x
