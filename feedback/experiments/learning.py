"""Does training pay? The trained policy against the untrained one, uniform choice, and Optuna's TPE, on equal terms.

    python -m feedback.experiments.learning --minutes 3                            (again until it says that all is done)
    python -m feedback.experiments.learning --task denoising --seeds-from 100 --seeds 1 --learning-rate 3e-4    (tuning)

Every option of a few programs of a task is scored once in sandboxes (`table.py`). Then each method draws the same number of
options at the same two programs and is told their rewards. So all methods and seeds share one scoring of each program: the
intervals are over adapters and draws, and hold no noise of the scoring. A third program is never trained on.

Expected rewards are exact: the policy's probability of each option times that option's reward, summed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.registry import task as find
from benchmarks.task import Task
from feedback.experiments import table
from feedback.experiments.table import PLACES, Row
from results.provenance import provenance
from results.store import write_atomically

WORK = Path("results") / "runs" / "learning"
PUBLISHED = Path("results") / "published" / "training-cpu" / "learning.json"
TRAINED, HELD_OUT = PLACES[:2], PLACES[2]
TASKS = ("denoising", "lawbench")
TUNING = 100
"""Seeds from here on chose the learning rate; no published figure is made of them."""


@dataclass(frozen=True)
class Setup:
    """What all seeds share."""

    rounds: int = 6
    group: int = 8
    """Options at each program in each round: rounds x group x 2 scored candidates for every method."""
    objective: str = "mean_baseline"
    learning_rate: float = 1e-3
    rank: int = 8
    dtype: str = "float32"


def expected(chances: Mapping[str, float], row: Row) -> float:
    """Σ p(option) · reward(option), from log-probabilities."""
    return float(sum(np.exp(p) * row.rewards[text] for text, p in chances.items()))


def train(task: Task, rows: Mapping[str, Row], setup: Setup, seed: int, work: Path) -> dict[str, Any]:
    """One training run on the table; the same pieces as `ratchet train`, the sync check included."""
    import torch

    from agents.models.smollm2 import model_folder
    from agents.models.sync import hand_over
    from agents.models.torch_local import LocalModel
    from agents.models.torch_policy import TorchPolicy
    from training.actions import Choice
    from training.checkpoint import Store
    from training.rollouts import Attempt, Played
    from training.torch_trainer import TorchTrainer
    from training.trainer import Settings

    folder = model_folder(print)
    space = Choice(task, table.edits_of(task))
    settings = Settings(
        rank=setup.rank, alpha=2 * setup.rank, learning_rate=setup.learning_rate, dtype=setup.dtype, seed=seed
    )
    trainer = TorchTrainer(folder, settings)
    policy = TorchPolicy(LocalModel(folder, dtype=getattr(torch, setup.dtype)))
    store = Store(work / "state", folder, work / "adapters")
    probe = [
        (policy.encode(p) if isinstance(p, str) else p, tokens) for p, tokens in space.probe(policy, rows["seed"].place)
    ]
    places = {name: table.place(name, task, rows) for name in PLACES}

    def look() -> dict[str, dict[str, float]]:
        seen = {name: space.distribution(policy, place) for name, place in places.items()}
        return {name: dict(zip(options, logprobs, strict=True)) for name, (_, options, logprobs) in seen.items()}

    untrained = look()
    curve, drawn, seconds = [], [], {"sampling": 0.0, "update": 0.0, "hand_over": 0.0}
    for number in range(1, setup.rounds + 1):
        attempts, begun = [], time.monotonic()
        for group, name in enumerate(TRAINED):
            acts = space.act(
                policy, rows[name].place, setup.group, temperature=1.0, seed=1000 * seed + 10 * number + group
            )
            attempts += [Attempt(group, a, reward=rows[name].rewards[a.text]) for a in acts.actions]
            drawn += [(name, a.text) for a in acts.actions]
        seconds["sampling"] += time.monotonic() - begun
        played = Played([rows[name].place for name in TRAINED], attempts, None, {})
        done = trainer.step(played.rollouts(number), setup.objective)
        seconds["update"] += done.seconds
        curve.append({"reward": float(np.mean([a.reward for a in attempts])), "entropy": played.entropy,
                      "skipped": done.skipped, "tokens": done.tokens, "update_s": done.seconds})  # fmt: skip
        if not done.skipped:
            begun = time.monotonic()
            hand_over(policy, store.put(trainer.lora()).path, probe, trainer.logprobs(probe))
            seconds["hand_over"] += time.monotonic() - begun
    return {
        "untrained": untrained, "trained": look(),
        "curve": curve, "seconds": seconds, **summary(drawn, rows), "adapter": policy.adapter,
    }  # fmt: skip


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


def main() -> None:
    """Go on where the last call stopped, for at most `--minutes` and what is begun by then."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--seeds-from", type=int, default=0, help=f"{TUNING} and more are for tuning, and not published"
    )
    parser.add_argument("--learning-rate", type=float, default=Setup.learning_rate)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default=Setup.dtype)
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument(
        "--publish", action="store_true", help="write the record from what is done, and do nothing else"
    )
    asked = parser.parse_args()
    end = time.monotonic() + (0 if asked.publish else 60 * asked.minutes)
    setup = Setup(learning_rate=asked.learning_rate, dtype=asked.dtype)
    tuning = asked.seeds_from >= TUNING
    if not tuning and setup != Setup():
        parser.error(f"another setup is for tuning: give --seeds-from {TUNING} with it")
    made: dict[str, Any] = {}
    for name in asked.task or TASKS:
        task = find(name)
        rows = tables(task, lambda: time.monotonic() < end, TRAINED)
        if not set(TRAINED) <= set(rows):
            return print(f"{name}: more options to score; call again")
        runs: list[dict[str, Any]] = []
        for seed in range(asked.seeds_from, asked.seeds_from + asked.seeds):
            key = f"{name}-{seed}-{setup.learning_rate:g}-{setup.dtype}"
            file = WORK / f"{key}.json"
            if not file.exists():
                if asked.publish:
                    break
                if time.monotonic() > end:
                    return print(f"{name}: {len(runs)} seeds done; call again")
                count = setup.rounds * setup.group * len(TRAINED)
                run: dict[str, Any] = {"seed": seed, "setup": asdict(setup), "policy": train(task, rows, setup, seed, WORK / key),
                       "uniform": uniform(rows, count, seed), "tpe": tpe(rows, count, seed)}  # fmt: skip
                write_atomically(file, json.dumps(run, indent=1).encode())
                print(f"{name} seed {seed}: {figures(rows, [run])}", flush=True)
            runs.append(json.loads(file.read_text()))
        if tuning:
            continue
        rows = tables(task, lambda: time.monotonic() < end, PLACES)
        made[name] = {"figures": figures(rows, runs), "runs": runs, "tuning": tuned(name, rows),
                      "table": json.loads((WORK / f"{name}-table.json").read_text())}  # fmt: skip
    if tuning:
        return None
    publish(made, setup)
    print(f"all done: {PUBLISHED}")


def tuned(name: str, rows: Mapping[str, Row]) -> list[dict[str, Any]]:
    """What the setup was chosen by: expected reward of one action after training, of the seeds for tuning."""
    found = []
    for file in sorted(WORK.glob(f"{name}-[0-9]*.json")):
        run = json.loads(file.read_text())
        if run["seed"] >= TUNING:
            reward = float(np.mean([expected(run["policy"]["trained"][place], rows[place]) for place in TRAINED]))
            found.append({"seed": run["seed"], "setup": run["setup"], "trained policy": reward,
                          "seconds": sum(run["policy"]["seconds"].values())})  # fmt: skip
    return found


def tables(task: Task, budget: Callable[[], bool], places: Sequence[str]) -> dict[str, Row]:
    """The task's table, scored as far as the budget goes."""
    from agents.models.gate import SocketGate
    from benchmarks.evaluator import Evaluator
    from sandboxes.backends import choose_backend
    from sandboxes.images import build

    WORK.mkdir(parents=True, exist_ok=True)
    task.fetch(print)
    factory = choose_backend("auto")
    build(factory, task.image, print)
    gate = SocketGate(WORK / "model.jsonl") if task.uses_model else None
    with Evaluator(factory.name, model=gate, ahead=2) as evaluator:
        return table.build(task, evaluator, WORK / f"{task.name}-table.json", budget, places)


def publish(made: Mapping[str, Any], setup: Setup) -> None:
    """Write the record, with where it came from; programs are left out, their hashes stand in the table."""
    told = {
        "what": "reward of a trained policy against the untrained one, uniform choice and Optuna's TPE",
        "reuse": "each program was scored once, on the search split with few repeats; whoever draws it again gets that score",
        "made": datetime.now(UTC).isoformat(timespec="seconds"), "setup": asdict(setup),
        "provenance": provenance().model_dump(mode="json"), "tasks": made,
    }  # fmt: skip
    write_atomically(PUBLISHED, json.dumps(told, indent=1, allow_nan=False).encode())


if __name__ == "__main__":
    main()
