"""What answers are worth: accuracy, F1, calibration, and the tables by charge. Pure functions on lists of charges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

Row = dict[str, str | float]


def macro_f1(truth: Sequence[str], predicted: Sequence[str]) -> float:
    """Mean over the charges that occur in `truth` of F1 = 2·TP / (2·TP + FP + FN). An abstention is a miss only."""
    hits = Counter(t for t, p in zip(truth, predicted, strict=True) if t == p)
    actual, given = Counter(truth), Counter(predicted)
    return sum(2 * hits[charge] / (actual[charge] + given[charge]) for charge in actual) / len(actual)


def top_k(truth: Sequence[str], ranked: Sequence[Sequence[str]], k: int) -> float:
    """Share of the cases whose charge is among the first `k` answers; an abstention has none."""
    return sum(t in answer[:k] for t, answer in zip(truth, ranked, strict=True)) / len(truth)


def calibration_error(right: Sequence[bool], confidence: Sequence[float], bins: int = 15) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599): Σ |B|/n · |accuracy(B) − mean confidence(B)|.

    `confidence` in [0, 1]; bin b of `bins` holds (b/bins, (b+1)/bins], and 0 falls into the first. Raises ValueError
    when there is nothing to average.
    """
    rows = reliability(right, confidence, bins)
    if not rows:
        raise ValueError("calibration needs at least one answer with a probability")
    gaps = [float(row["cases"]) * abs(float(row["accuracy"]) - float(row["confidence"])) for row in rows]
    return sum(gaps) / len(right)


def reliability(right: Sequence[bool], confidence: Sequence[float], bins: int = 15) -> list[Row]:
    """For each bin of confidence that is not empty: how many cases, how sure, how often right."""
    members: dict[int, list[int]] = {}
    for i, sure in enumerate(confidence):
        # The smallest b with sure <= (b + 1) / bins, by comparison and not by rounding.
        members.setdefault(next(b for b in range(bins) if sure <= (b + 1) / bins or b == bins - 1), []).append(i)
    return [
        {
            "bin": f"({b / bins:.2f}, {(b + 1) / bins:.2f}]", "cases": float(len(inside)),
            "confidence": sum(confidence[i] for i in inside) / len(inside),
            "accuracy": sum(right[i] for i in inside) / len(inside),
        }
        for b, inside in sorted(members.items())
    ]  # fmt: skip


def by_charge(truth: Sequence[str], predicted: Sequence[str]) -> list[Row]:
    """One row for each charge that occurs or was given, the most frequent first; a rate without cases is left out."""
    hits = Counter(t for t, p in zip(truth, predicted, strict=True) if t == p)
    actual, given = Counter(truth), Counter(p for p in predicted if p)
    rows: list[Row] = []
    for charge in sorted({*actual, *given}, key=lambda charge: (-actual[charge], charge)):
        row: Row = {"charge": charge, "cases": float(actual[charge]), "given": float(given[charge])}
        row["right"] = float(hits[charge])
        row["f1"] = 2 * hits[charge] / (actual[charge] + given[charge])
        if actual[charge]:
            row["recall"] = hits[charge] / actual[charge]
        if given[charge]:
            row["precision"] = hits[charge] / given[charge]
        rows.append(row)
    return rows


def confusions(truth: Sequence[str], predicted: Sequence[str]) -> list[Row]:
    """How often which charge was taken for which other, the most frequent first; "" is an abstention."""
    wrong = Counter((t, p) for t, p in zip(truth, predicted, strict=True) if t != p)
    ordered = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    return [{"charge": t, "answer": p, "cases": float(count)} for (t, p), count in ordered]


def set_f1(truth: Collection[str], predicted: Collection[str]) -> float:
    """F1 of two sets: 2·|T ∩ P| / (|T| + |P|), and 0 when both are empty. LawBench averages it over its questions."""
    both = len(set(truth) & set(predicted))
    total = len(set(truth)) + len(set(predicted))
    return 2 * both / total if total else 0.0
