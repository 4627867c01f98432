"""Code moves for charge prediction: better short lists first, then who decides, then the details."""

from __future__ import annotations

from agents import edits
from agents.edits import EditError
from feedback.moves import move

FEATURES = '''
def features(train, cases):
    """TF-IDF of the texts' character n-grams, sparse float32: one row a training case, one row a case."""
    vectors = TfidfVectorizer(
        analyzer="char", ngram_range=NGRAMS, min_df=MIN_DF, max_features=MAX_FEATURES,
        sublinear_tf=True, dtype=np.float32,
    )
    known = vectors.fit_transform([row["text"] for row in train])
    return known, vectors.transform([case["text"] for case in cases])
'''

RANKED = '''
def shortlist(train, cases, charges):
    """For each case the charges worth considering, the most likely first; only one where the evidence is clear."""
    labels, evidence = weigh(train, cases)
    options = []
    for row in (evidence - evidence.mean(1, keepdims=True)) / (evidence.std(1, keepdims=True) + 1e-9):
        best_first = np.argsort(-row)[:OPTIONS]
        options.append([labels[column] for column in best_first if row[column] > row.max() - CLOSE])
    return options
'''

BY_CLASSIFIER = '''
def weigh(train, cases):
    """The charges and the evidence for each [cases, charges]: margins of a linear support vector machine."""
    known, asked = features(train, cases)
    machine = LinearSVC(C=PENALTY, tol=0.1).fit(known, [row["charge"] for row in train])
    return list(machine.classes_), machine.decision_function(asked)
'''

BY_NEIGHBOURS = '''
def weigh(train, cases):
    """The charges and the evidence for each [cases, charges]: votes of the nearest training cases by cosine."""
    known, asked = features(train, cases)
    labels, charge_of = np.unique([row["charge"] for row in train], return_inverse=True)
    evidence = np.zeros((len(cases), len(labels)), dtype=np.float32)
    for votes, near in zip(evidence, (asked @ known.T).toarray()):
        nearest = np.argsort(-near)[:NEIGHBOURS]
        np.add.at(votes, charge_of[nearest], near[nearest] ** 2)
    return list(labels), evidence
'''

BY_BOTH = '''
def weigh(train, cases):
    """The charges and the evidence for each [cases, charges]: three views, each scaled to mean 0 and deviation 1."""
    known, asked = features(train, cases)
    labels, charge_of = np.unique([row["charge"] for row in train], return_inverse=True)
    machine = LinearSVC(C=PENALTY, tol=0.1).fit(known, charge_of)
    words = ComplementNB(alpha=0.1).fit(known, charge_of)
    members = np.eye(len(labels), dtype=np.float32)[charge_of]
    # A high power lets the very nearest cases outvote the many that are a little alike.
    votes = (asked @ known.T).toarray() ** 6 @ members
    views = [machine.decision_function(asked), words.predict_log_proba(asked), np.log(votes + 1e-9)]
    scaled = [(view - view.mean(1, keepdims=True)) / (view.std(1, keepdims=True) + 1e-9) for view in views]
    return list(labels), sum(weight * view for weight, view in zip(VIEW_WEIGHTS, scaled))
'''

TRUSTING = '''
def decide(model, cases, options):
    """One charge a case: the first of its short list."""
    return [found[0] for found in options]
'''

WITH_WORDS_OF_THE_ACT = '''
def prompt(case, options):
    """The question put to the model about one case; it answers with a letter."""
    # The act stands late in the text: after the prosecutor's opening and before the reasons for the sentence.
    text = case["text"]
    middle = max(0, len(text) // 2 - SHOWN // 2)
    listed = "\\n".join(f"{letter(index)} {plain(charge)[:4]}" for index, charge in enumerate(options))
    return f"{text[middle : middle + SHOWN]}\\n{listed}\\n:"
'''

PLAIN = '''
def plain(charge):
    """A charge without the brackets that the statute's alternatives stand in."""
    return charge.replace("[", "").replace("]", "")
'''

CONSTANTS = {
    "NGRAMS": (2, 2), "MIN_DF": 3, "MAX_FEATURES": 40000, "PENALTY": 0.2, "NEIGHBOURS": 10,
    "VIEW_WEIGHTS": (1.0, 0.2, 0.1), "CLOSE": 1.0,
}  # fmt: skip


def _ranked(source: str, weigh: str, imports: tuple[str, ...]) -> str:
    """The program with `weigh` as the evidence behind its short list, and all that it needs."""
    for statement in ("import numpy as np", "from sklearn.feature_extraction.text import TfidfVectorizer", *imports):
        source = edits.add_import(source, statement)
    if edits.has_function(source, "weigh"):
        source = edits.replace_function(source, "weigh", weigh.strip())
    else:
        source = edits.insert_before_function(source, "shortlist", weigh)
    if not edits.has_function(source, "features"):
        source = edits.insert_before_function(source, "weigh", FEATURES)
    for name, value in reversed(CONSTANTS.items()):
        if name in FEATURES + weigh + RANKED and not edits.has_constant(source, name):
            source = _with_constant(source, name, value)
    return edits.replace_function(source, "shortlist", RANKED.strip())


def _with_constant(source: str, name: str, value: object) -> str:
    """The program with one more constant, beside the ones that it has."""
    line = f"OPTIONS = {edits.constant(source, 'OPTIONS')!r}\n"
    source = edits.set_constant(source, "OPTIONS", edits.constant(source, "OPTIONS"))
    return source.replace(line, f"{line}{name} = {value!r}\n", 1)


@move("lawbench")
def retrieve_similar_cases(source: str) -> str:
    """Fill the short list with the charges of the most similar training cases: alike facts, alike charges."""
    return _ranked(source, BY_NEIGHBOURS, ())


@move("lawbench")
def rank_with_a_linear_classifier(source: str) -> str:
    """Fill the short list by a linear SVM on character n-grams, which weighs every n-gram by what it tells apart."""
    return _ranked(source, BY_CLASSIFIER, ("from sklearn.svm import LinearSVC",))


@move("lawbench")
def show_the_act(source: str) -> str:
    """Show the model the middle of the text instead of its opening formula, and charges without brackets."""
    if not edits.has_function(source, "plain"):
        source = edits.insert_before_function(source, "prompt", PLAIN)
    return edits.replace_function(source, "prompt", WITH_WORDS_OF_THE_ACT.strip())


@move("lawbench")
def two_options(source: str) -> str:
    """Let the model choose between two charges only: the more there are, the less its choice is worth."""
    return edits.set_constant(source, "OPTIONS", 2)


@move("lawbench")
def trust_the_first(source: str) -> str:
    """Answer with the head of the short list and spend no model tokens: the ranking may know better than the model."""
    return edits.replace_function(source, "decide", TRUSTING.strip())


@move("lawbench")
def average_three_views(source: str) -> str:
    """Rank by the SVM, naive Bayes and similar cases together: they err on different cases."""
    return _ranked(
        source, BY_BOTH, ("from sklearn.naive_bayes import ComplementNB", "from sklearn.svm import LinearSVC")
    )


@move("lawbench")
def regularise_less(source: str) -> str:
    """Raise the SVM's C fivefold: with 25 cases a charge and many features, the default holds back too much."""
    value = edits.constant(source, "PENALTY")
    if not isinstance(value, float):
        raise EditError("PENALTY is no number")
    return edits.set_constant(source, "PENALTY", min(5.0, round(value * 5, 3)))


@move("lawbench")
def keep_all_features(source: str) -> str:
    """Lift the cap on the number of n-grams: charges with few cases live on rare words."""
    if not edits.has_constant(source, "MAX_FEATURES"):
        raise EditError("program has no n-gram features")
    return edits.set_constant(source, "MAX_FEATURES", None)


@move("lawbench")
def drop_rare_ngrams(source: str) -> str:
    """Ask an n-gram to occur in more cases before it counts: faster, and less to learn by heart."""
    value = edits.constant(source, "MIN_DF")
    if not isinstance(value, int) or value > 20:
        raise EditError("MIN_DF is no small number")
    return edits.set_constant(source, "MIN_DF", value + 2)


@move("lawbench")
def add_single_characters(source: str) -> str:
    """Count single characters too: many a Chinese word of one character names the act."""
    value = edits.constant(source, "NGRAMS")
    if not isinstance(value, tuple):
        raise EditError("NGRAMS is no range")
    return edits.set_constant(source, "NGRAMS", (1, max(value)))
