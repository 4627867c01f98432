"""Does training pay? The trained policy against the untrained one, uniform choice, and Optuna's TPE, on equal terms.

    python -m feedback.experiments.learning --minutes 3                            (again until it says that all is done)
    python -m feedback.experiments.learning --task denoising --seeds-from 100 --seeds 1 --learning-rate 3e-4    (tuning)

Every option of a few programs of a task is scored once in sandboxes (`table.py`). Then each method draws the same number of
options at the same two programs and is told their rewards. So all methods and seeds share one scoring of each program: the
intervals are over adapters and draws, and hold no noise of the scoring. A third program is never trained on.

Expected rewards are exact: the policy's probability of each option times that option's reward, summed. On a machine that has no
runs it goes on from the published record.
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

from benchmarks.registry import task as find
from benchmarks.task import Task
from feedback.experiments import table
from feedback.experiments.figures import TRAINED, expected, figures, summary, tpe, uniform
from feedback.experiments.table import PLACES, Row
from feedback.moves import edits_for
from results.provenance import provenance
from results.store import write_atomically

WORK = Path("results") / "runs" / "learning"
PUBLISHED = Path("results") / "published" / "training-cpu" / "learning.json"
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
    temperature: float = 1.0
    """Of the policy that acts and is trained."""


EXPERIMENTS = {
    "temperature 1": (Setup(), range(5)),
    "temperature 2": (Setup(temperature=2.0, dtype="bfloat16"), range(10, 15)),
}
"""Setup and seeds; intervals are over these. The second was made because the first fails on most seeds: a policy that hardly
ever draws a good option commits itself to a poor one. Its seeds are new, so that none of them had a part in the choice."""


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
    space = Choice(task, edits_for(task.name))
    settings = Settings(
        rank=setup.rank,
        alpha=2 * setup.rank,
        learning_rate=setup.learning_rate,
        dtype=setup.dtype,
        seed=seed,
        temperature=setup.temperature,
    )
    trainer = TorchTrainer(folder, settings)
    policy = TorchPolicy(LocalModel(folder, dtype=getattr(torch, setup.dtype)))
    store = Store(work / "state", folder, work / "adapters")
    probe = [
        (policy.encode(p) if isinstance(p, str) else p, tokens) for p, tokens in space.probe(policy, rows["seed"].place)
    ]
    places = {name: table.place(name, task, rows) for name in PLACES}

    def look() -> dict[str, dict[str, float]]:
        seen = {
            name: space.distribution(policy, place, temperature=setup.temperature) for name, place in places.items()
        }
        return {name: dict(zip(options, logprobs, strict=True)) for name, (_, options, logprobs) in seen.items()}

    untrained = look()
    curve, drawn, seconds = [], [], {"sampling": 0.0, "update": 0.0, "hand_over": 0.0}
    for number in range(1, setup.rounds + 1):
        attempts, begun = [], time.monotonic()
        for group, name in enumerate(TRAINED):
            acts = space.act(
                policy,
                rows[name].place,
                setup.group,
                temperature=setup.temperature,
                seed=1000 * seed + 10 * number + group,
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


def main() -> None:
    """Go on where the last call stopped, for at most `--minutes` and what is begun by then."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument("--publish", action="store_true", help="write the record of what is done, and do nothing else")
    tuning = parser.add_argument_group("tuning, in place of the experiments")
    tuning.add_argument("--seeds-from", type=int, help=f"{TUNING} or more")
    tuning.add_argument("--seeds", type=int, default=1)
    tuning.add_argument("--learning-rate", type=float, default=Setup.learning_rate)
    tuning.add_argument("--temperature", type=float, default=Setup.temperature)
    tuning.add_argument("--dtype", choices=("float32", "bfloat16"), default=Setup.dtype)
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    wanted = EXPERIMENTS
    if asked.seeds_from is not None:
        if asked.seeds_from < TUNING:
            parser.error(f"seeds below {TUNING} are those of the experiments")
        setup = Setup(learning_rate=asked.learning_rate, dtype=asked.dtype, temperature=asked.temperature)
        wanted = {"tuning": (setup, range(asked.seeds_from, asked.seeds_from + asked.seeds))}
    taken_up()
    if not asked.publish:
        for name in asked.task or TASKS:
            if todo := work(find(name), wanted, lambda: time.monotonic() < end):
                return print(f"{name}: {todo}; call again")
    if asked.seeds_from is None:
        publish()
    print(f"all done: {PUBLISHED}")


def work(task: Task, wanted: Mapping[str, tuple[Setup, range]], budget: Callable[[], bool]) -> str:
    """Go on with the table and the runs of one task; what is left to do, or ""."""
    rows = tables(task, budget, TRAINED)
    if not set(TRAINED) <= set(rows):
        return "more options to score"
    for name, (setup, seeds) in wanted.items():
        for seed in seeds:
            file = run_file(task.name, setup, seed)
            if file.exists():
                continue
            if not budget():
                return f"{name}: {seed - seeds.start} seeds of {len(seeds)} done"
            count = setup.rounds * setup.group * len(TRAINED)
            run: dict[str, Any] = {
                "seed": seed, "setup": asdict(setup), "policy": train(task, rows, setup, seed, file.with_suffix("")),
                "uniform": uniform(rows, count, seed), "tpe": tpe(rows, count, seed),
            }  # fmt: skip
            write_atomically(file, json.dumps(run, indent=1).encode())
            print(
                f"{task.name}, {name}, seed {seed}: rewards {[round(c['reward'], 3) for c in run['policy']['curve']]}"
            )
    return "" if set(PLACES) <= set(tables(task, budget, PLACES)) else "the program not trained on is left"


def taken_up(record: Path = PUBLISHED, to: Path = WORK) -> None:
    """Go on from a published record where this machine has no table of a task yet: its table and runs become files again."""
    tasks = json.loads(record.read_text())["tasks"] if record.exists() else {}
    for name, told in tasks.items():
        if (to / f"{name}-table.json").exists():
            continue
        for experiment in told["experiments"].values():
            for run in experiment["runs"]:
                write_atomically(
                    run_file(name, Setup(**run["setup"]), run["seed"], to), json.dumps(run, indent=1).encode()
                )
        write_atomically(to / f"{name}-table.json", json.dumps(told["table"], indent=1).encode())


def run_file(task: str, setup: Setup, seed: int, folder: Path = WORK) -> Path:
    """Where one run is kept."""
    return folder / f"{task}-{seed}-{setup.learning_rate:g}-{setup.dtype}-t{setup.temperature:g}.json"


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


def publish() -> None:
    """Write the record of the runs that are done, with where it came from; programs are left out, their hashes stay."""
    tasks: dict[str, Any] = {}
    before = json.loads(PUBLISHED.read_text())["tasks"] if PUBLISHED.exists() else {}
    for name in TASKS:
        file = WORK / f"{name}-table.json"
        rows = table.build(find(name), None, file, lambda: False) if file.exists() else {}
        made = {}
        for title, (setup, seeds) in EXPERIMENTS.items():
            runs = [json.loads(f.read_text()) for seed in seeds if (f := run_file(name, setup, seed)).exists()]
            if runs:
                made[title] = {"setup": asdict(setup), "figures": figures(rows, runs), "runs": runs}
        if made:
            # Runs that chose the setup are not taken up from a record, only what they found.
            tuning = tuned(name, rows) or before.get(name, {}).get("tuning", [])
            tasks[name] = {"experiments": made, "tuning": tuning, "table": json.loads(file.read_text())}
    told = {
        "what": "reward of a trained policy against the untrained one, uniform choice and Optuna's TPE",
        "reuse": "each program was scored once, on the search split with few repeats; whoever draws it again gets that score",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "provenance": provenance().model_dump(mode="json"), "tasks": tasks,
    }  # fmt: skip
    write_atomically(PUBLISHED, json.dumps(told, indent=1, allow_nan=False).encode())


if __name__ == "__main__":
    main()
