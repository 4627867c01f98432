"""Does harness plus weights beat either alone? Every arm on every task, equal budgets, several seeds; it resumes.

    make experiment ARGS="--minutes 30"      (call it again until it says that all is done)

Each run of an arm has the same two budgets, scored candidates and seconds, on the search split, with few repeats. Then, once for each
task and seed, the best programs of all arms and the seed program are scored together on the report split, with all repeats and
under one secret seed, so that arms are compared pair by pair on the same cases, cells or blocks.

Gains are over the seed program in natural units (`training.rewards.gain`): the log of a ratio of errors or times, or a difference
of accuracies. So a program that several arms found counts the same in all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.evaluator import Evaluator
from benchmarks.registry import task as find
from benchmarks.task import Candidate, Score, Split, Task
from feedback.archive import Archive, Try
from feedback.budget import Budget
from feedback.experiments.analysis import publish
from feedback.experiments.arms import ARMS, run_name
from feedback.levers import lever_policy
from feedback.loop import Loop, Plan
from feedback.weights import WeightsLever
from results.store import RUNS, write_atomically
from sandboxes.base import UserError

WORK = RUNS / "experiment"
TASKS = ("lawbench", "denoising", "trimul")


@dataclass(frozen=True)
class Setup:
    """What all runs share."""

    candidates: int = 40
    """Programs that each run may score on the search split."""
    seconds: float = 90.0
    """Of its generations, training included: what a lever costs beside candidates is part of what it is worth."""
    generations: int = 6
    """At most; the gate's error is shared among so many."""
    width: int = 4


class Remembering(Evaluator):
    """An evaluator that scores a program once where the split is a fixed list of cases: the same cases, the same answers.

    The seconds that this saves are paid nevertheless (`saved`), so that a program costs each arm the same.
    """

    saved: Callable[[float], None] = staticmethod(lambda seconds: None)
    """Told how many seconds were saved, so that they are paid all the same."""

    def remember(self, file: Path) -> None:
        """Keep what is known in a file."""
        self._file = file
        self._known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def evaluate(
        self, task: str, candidates: Sequence[Candidate], split: Split, *, quick: bool = False,
        on_commit: Callable[[str], None] = lambda committed: None, second: bool = False,
    ) -> list[Score]:  # fmt: skip
        """See `Evaluator.evaluate`."""
        if find(task).fresh_inputs or split is not Split.SEARCH or second or not quick:
            return super().evaluate(task, candidates, split, quick=quick, on_commit=on_commit, second=second)
        new = [c for c in candidates if f"{task}/{c.sha}" not in self._known]
        if new:
            for c, score in zip(new, super().evaluate(task, new, split, quick=True, on_commit=on_commit), strict=True):
                self._known[f"{task}/{c.sha}"] = score.model_dump(mode="json")
            write_atomically(self._file, json.dumps(self._known).encode())
        scores = [Score.model_validate(self._known[f"{task}/{c.sha}"]) for c in candidates]
        fresh = {c.sha for c in new}
        self.saved(sum(s.seconds for c, s in zip(candidates, scores, strict=True) if c.sha not in fresh))
        return scores


def one(
    task: Task, arm: str, seed: int, setup: Setup, evaluator: Remembering, work: Path, model: Path
) -> dict[str, Any]:
    """One run of one arm, without its report; goes on where it was left."""
    folder = work / task.name / run_name(arm, seed)
    plan = Plan(
        setup.generations,
        setup.width,
        quick=True,
        budget=Budget(setup.candidates, setup.seconds),
        watch=False,
        seed=seed,
    )
    weights = WeightsLever(task, evaluator, lambda: model, quick=True)
    archive = Archive(folder)
    try:
        say = partial(print, f"{task.name} {arm} {seed}:", flush=True)
        chosen = ARMS[arm]
        loop = Loop(task, plan, chosen.agent(task, weights), archive, evaluator, say,
                    levers=lever_policy(chosen.levers), weights=weights)  # fmt: skip
        evaluator.saved = lambda seconds: loop.books.pay(seconds=seconds)
        best = loop.search()
        return {"setup": asdict(setup), **_told(archive, task, arm, seed, best, loop)}
    finally:
        archive.close()
        weights.close()


def _told(archive: Archive, task: Task, arm: str, seed: int, best: Try, loop: Loop) -> dict[str, Any]:
    program, generations = archive.candidate(best), archive.generations(task.name)
    return {
        "task": task.name, "arm": arm, "seed": seed, "source": program.source, "weights": program.weights, "sha": program.sha,
        "search": best.scored.value if best.scored else None, "lineage": archive.lineage(best),
        "levers": [g.lever for g in generations if g.number], "gains": [g.gain for g in generations if g.number],
        "trained": [g.evidence["training"] for g in generations if "training" in g.evidence],
        "spent": asdict(loop.books.spent()), "stopped": archive.spending(task.name).stopped,
        "tries": len(archive.tries(task.name)),
    }  # fmt: skip


def reported(task: Task, runs: Sequence[dict[str, Any]], evaluator: Evaluator) -> dict[str, Any]:
    """The report split, once: the seed program and the best of every arm, under one secret seed."""
    programs = {task.seed().sha: task.seed()}
    for run in runs:
        programs[run["sha"]] = Candidate(source=run["source"], weights=run["weights"], name=run["arm"])
    scores = evaluator.evaluate(task.name, list(programs.values()), Split.REPORT)
    return {
        "seed_program": task.seed().sha,
        "scores": {sha: s.model_dump(mode="json", exclude={"tables", "raw"}) for sha, s in zip(programs, scores, strict=True)},
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Go on where the last call stopped; nothing new is begun after `--minutes`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument("--arm", action="append", choices=list(ARMS))
    parser.add_argument("--candidates", type=int, default=Setup.candidates)
    parser.add_argument("--seconds", type=float, default=Setup.seconds)
    parser.add_argument("--work", type=Path, default=WORK, help="where runs are kept")
    parser.add_argument("--out", type=Path, help="where the table goes; results/published/experiment-cpu without")
    parser.add_argument("--publish", action="store_true", help="only write the table of what is done")
    asked = parser.parse_args(arguments)
    end, setup = time.monotonic() + 60 * asked.minutes, Setup(candidates=asked.candidates, seconds=asked.seconds)
    arms, tasks = asked.arm or list(ARMS), asked.task or list(TASKS)
    if not asked.publish and not _all(tasks, arms, asked.seeds, setup, asked.work, end):
        return print("time is up; call it again to go on", flush=True)
    print(publish(asked.work, tasks, arms, asked.seeds, asked.out), flush=True)


def _all(tasks: Sequence[str], arms: Sequence[str], seeds: int, setup: Setup, work: Path, end: float) -> bool:
    """Every run and every report that is not there yet; False when the time ended before."""
    from agents.models.gate import SocketGate
    from agents.models.scripted import ScriptedGate
    from agents.models.smollm2 import model_folder
    from sandboxes.backends import choose_backend
    from sandboxes.images import build

    factory = choose_backend("auto")
    gate = SocketGate(work / "model.jsonl")
    with ExitStack() as stack:
        evaluator = stack.enter_context(Remembering(factory.name, model=gate, scripted=ScriptedGate(), ahead=2))
        evaluator.remember(work / "known.json")
        for seed in range(seeds):
            for task in map(find, tasks):
                task.fetch(print)
                build(factory, task.image, print)
                runs = []
                for arm in arms:
                    file = work / task.name / f"{run_name(arm, seed)}.json"
                    if not file.exists():
                        if time.monotonic() > end:
                            return False
                        run = one(task, arm, seed, setup, evaluator, work, model_folder(print))
                        write_atomically(file, json.dumps(run, indent=1).encode())
                    runs.append(json.loads(file.read_text()))
                    if (had := runs[-1].get("setup")) != asdict(setup):
                        raise UserError(f"{file} had another budget, {had}; use that, or another --work")
                file = work / task.name / f"report-{seed}.json"
                if not file.exists():
                    write_atomically(file, json.dumps(reported(task, runs, evaluator)).encode())
    return True


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"levers: {error}") from None
