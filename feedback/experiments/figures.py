"""The figures of the experiment: what draws and policies are worth on a table of rewards, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from feedback.experiments.table import PLACES, Row

TRAINED, HELD_OUT = PLACES[:2], PLACES[2]


def expected(chances: Mapping[str, float], row: Row) -> float:
    """Σ p(option) · reward(option), from log-probabilities."""
    return float(sum(np.exp(p) * row.rewards[text] for text, p in chances.items()))


def summary(drawn: Sequence[tuple[str, str]], rows: Mapping[str, Row]) -> dict[str, Any]:
    """What a sequence of scored candidates was worth."""
    rewards = [rows[name].rewards[text] for name, text in drawn]
    return {
        "candidates": len(drawn), "distinct": len(set(drawn)), "mean": float(np.mean(rewards)),
        "last_quarter": float(np.mean(rewards[-(len(rewards) // 4) :])),
        "best_found": float(np.mean([max(rows[n].rewards[t] for m, t in drawn if m == n) for n in TRAINED])),
    }  # fmt: skip


def uniform(rows: Mapping[str, Row], count: int, seed: int) -> dict[str, Any]:
    """Options drawn with equal chances."""
    rng = np.random.default_rng([seed, 1])
    drawn = [(name, str(rng.choice(list(rows[name].rewards)))) for name in TRAINED * (count // 2)]
    return summary(drawn, rows)


def tpe(rows: Mapping[str, Row], count: int, seed: int) -> dict[str, Any]:
    """Optuna's TPE sampler with its defaults: one study a program, the option as a categorical parameter."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    studies = {
        name: optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=2 * seed + i))
        for i, name in enumerate(TRAINED)
    }
    drawn = []
    for name in TRAINED * (count // 2):
        trial = studies[name].ask()
        text = trial.suggest_categorical("option", list(rows[name].rewards))
        studies[name].tell(trial, rows[name].rewards[text])
        drawn.append((name, text))
    return summary(drawn, rows)


def interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean and 95 % interval by Student's t over seeds; no interval for fewer than two."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return {"mean": mean, "interval": None, "n": n}
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return {"mean": mean, "interval": [mean - half, mean + half], "n": n}


def figures(rows: Mapping[str, Row], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the runs of one task say, over seeds."""

    def seen(where: Sequence[str]) -> dict[str, Any]:
        def over(what: str) -> list[float]:
            return [float(np.mean([expected(run["policy"][what][name], rows[name]) for name in where])) for run in runs]

        trained, base = over("trained"), over("untrained")
        chance = float(np.mean([np.mean(list(rows[name].rewards.values())) for name in where]))
        return {
            "trained policy": interval(trained), "untrained policy": interval(base), "uniform choice": chance,
            "trained minus untrained": interval([a - b for a, b in zip(trained, base, strict=True)]),
            "trained minus uniform": interval([a - chance for a in trained]),
            "best option": float(np.mean([max(rows[name].rewards.values()) for name in where])),
        }  # fmt: skip

    methods = ("policy", "uniform", "tpe")
    return {
        "expected reward of one action, programs trained on": seen(TRAINED),
        "expected reward of one action, program not trained on": seen((HELD_OUT,)) if HELD_OUT in rows else None,
        "over all scored candidates": {
            measure: {m: interval([run[m][measure] for run in runs]) for m in methods}
            for measure in ("mean", "last_quarter", "best_found", "distinct", "candidates")
        },
        "seconds of training, scoring not counted": interval([sum(run["policy"]["seconds"].values()) for run in runs]),
    }
