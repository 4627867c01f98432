"""Runs inside the sandbox: hand the candidate the cases and write down its charges."""

import json

import model
from candidate import BROKEN_CONTRACT, call, give_up, load


def rows(path):
    """The objects of a JSON-lines file."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def written(answer):
    """One answer as the fields of a line: a charge, a ranked list of charges, or ranked (charge, probability) pairs."""
    if isinstance(answer, str):
        return {"charges": [str(answer)] if answer else []}
    if isinstance(answer, (list, tuple)):
        if all(isinstance(item, str) for item in answer):
            return {"charges": [str(item) for item in answer]}
        if all(isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str) for item in answer):
            pairs = [(str(charge), float(probability)) for charge, probability in answer]
            return {"charges": [charge for charge, _ in pairs], "probabilities": [p for _, p in pairs]}
    give_up(
        BROKEN_CONTRACT,
        "each answer must be a charge as a string (empty to abstain), a ranked list of charges, or a ranked list of "
        "(charge, probability) pairs",
    )


def main():
    """Call the candidate once, and write `predictions.jsonl`."""
    predict = load("/scratch/candidate.py", "predict", arguments=4)
    train, cases = rows("/scratch/train.jsonl"), rows("/scratch/cases.jsonl")
    with open("/scratch/charges.json", encoding="utf-8") as file:
        charges = json.load(file)
    ids = [case["id"] for case in cases]
    answers = call(predict, train, cases, charges, model.Model() if model.available() else None)
    if not isinstance(answers, (list, tuple)) or len(answers) != len(ids):
        give_up(BROKEN_CONTRACT, f"predict() must return a list of {len(ids)} answers, one a case and in order")
    with open("/scratch/predictions.jsonl", "w", encoding="utf-8") as file:
        for name, answer in zip(ids, answers, strict=True):
            file.write(json.dumps({"id": name, **call(written, answer)}, ensure_ascii=False) + "\n")


main()
