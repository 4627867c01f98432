"""Charge prediction by asking a small language model to choose from a short list. A weak start, on purpose."""

from collections import Counter

from model import BudgetSpent

OPTIONS = 3
SHOWN = 8
BATCH = 64


def shortlist(train, cases, charges):
    """For each case the charges worth considering, the most likely first."""
    frequent = [charge for charge, _ in Counter(row["charge"] for row in train).most_common(OPTIONS)]
    return [frequent for _ in cases]


def prompt(case, options):
    """The question put to the model about one case; it answers with a letter."""
    listed = "\n".join(f"{letter(index)} {charge[:4]}" for index, charge in enumerate(options))
    return f"{case['text'][:SHOWN]}\n{listed}\n:"


def letter(index):
    """The name of an option: one token for the model, so that a question costs one pass."""
    return " " + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index]


def decide(model, cases, options):
    """One charge a case: the model's choice, or the first of the short list where the model was not asked."""
    chosen = [found[0] for found in options]
    if model is None:
        return chosen
    open_cases = [i for i in range(len(cases)) if len(options[i]) > 1]
    for start in range(0, len(open_cases), BATCH):
        batch = open_cases[start : start + BATCH]
        questions = [prompt(cases[i], options[i]) for i in batch]
        letters = [[letter(k) for k in range(len(options[i]))] for i in batch]
        try:
            answers = model.choose(questions, letters)
        except BudgetSpent:
            break
        for i, answer in zip(batch, answers, strict=True):
            chosen[i] = options[i][answer]
    return chosen


def predict(train, cases, charges, model):
    """The charge of each case, in order."""
    return decide(model, cases, shortlist(train, cases, charges))
