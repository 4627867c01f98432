"""Runs inside the sandbox: hand the candidate the cases and write down its charges."""

import csv
import json

import model
from candidate import BROKEN_CONTRACT, call, give_up, load


def rows(path):
    """The objects of a JSON-lines file."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main():
    """Call the candidate once, and write `predictions.csv`."""
    predict = load("/scratch/candidate.py", "predict")
    train, cases = rows("/scratch/train.jsonl"), rows("/scratch/cases.jsonl")
    with open("/scratch/charges.json", encoding="utf-8") as file:
        charges = json.load(file)
    ids = [case["id"] for case in cases]
    answer = call(predict, train, cases, charges, model.Model() if model.available() else None)
    if not isinstance(answer, (list, tuple)) or len(answer) != len(ids):
        give_up(BROKEN_CONTRACT, f"predict() must return a list of {len(ids)} charges, one a case and in order")
    if not all(isinstance(charge, str) for charge in answer):
        give_up(BROKEN_CONTRACT, "predict() must return charges as strings; an empty one abstains")
    with open("/scratch/predictions.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("id", "charge"), *zip(ids, answer, strict=True)])


main()
