"""`ratchet baselines TASK`: what the seed and the known programs of a task are worth, all in one run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.task import Split
from cli.options import BACKEND, JSON, RUNTIME, emit, out, spinner


def baselines(
    task: Annotated[str, typer.Argument(help="A task's name; `ratchet tasks` lists them.")],
    folder: Annotated[Path, typer.Option("--out", help="Where the records go, one file a program.")] = Path(
        "results/runs"
    ),
    skip: Annotated[
        list[str] | None, typer.Option(help="Baselines to leave out; triton_, which needs a GPU, when none is named.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Which part of the data.")] = Split.REPORT,
    note: Annotated[str, typer.Option(help="What a reader of the records must know, in a sentence.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Fewer repeats: not for a record.")] = False,
    backend: BACKEND = "auto",
    runtime: RUNTIME = None,
    json: JSON = False,
) -> int:
    """Score a task's seed and baselines side by side under one secret seed, and write a record for each.

    Exits 0 when every verdict is ok, else 1.

    Example: ratchet baselines softmax --out results/published/kernels-cpu
    """  # fmt: skip
    from benchmarks.evaluator import Evaluator
    from benchmarks.registry import task as find
    from cli.scoring import shown
    from feedback.report import measurement
    from results.record import Record, write_record
    from results.stats import paired_difference
    from sandboxes.backends import choose_backend
    from sandboxes.images import build

    found = find(task)
    names = sorted(p.stem for p in (found.folder / "baselines").glob("*.py") if p.stem not in (skip or ["triton_"]))
    candidates = [found.seed(), *(found.baseline(name) for name in names)]
    with spinner(f"scoring {len(candidates)} programs on {task}") as say:
        factory = choose_backend(backend, runtime=runtime)
        found.fetch(say)
        build(factory, found.image, say)
        with Evaluator(factory.name, runtime=runtime, progress=say) as evaluator:
            scores = evaluator.evaluate(task, candidates, split, quick=quick)
    metric, seed = found.metric, scores[0]
    paths = []
    for candidate, score in zip(candidates, scores, strict=True):
        gain, interval = paired_difference(score.units, seed.units) if score.ok and seed.ok else (None, None)
        if metric.log_units and gain is not None and interval is not None:
            gain, interval = math.exp(gain), (math.exp(interval[0]), math.exp(interval[1]))
        record = Record(
            kind="score", task=task, metric=metric.name, unit=metric.unit, direction=metric.direction.value,
            split=split.value, best=measurement(candidate, score), seed=measurement(candidates[0], seed),
            gain=gain, gain_interval=interval, gain_is_ratio=metric.log_units, wall_seconds=score.seconds, note=note,
        )  # fmt: skip
        paths.append(write_record(record, folder / f"{task}-{candidate.name}.json"))
    if json:
        emit({
            "task": task, "split": split.value,
            "programs": [
                {"name": c.name, "verdict": s.verdict.value, "reason": s.reason, "score": s.value,
                 "interval": s.interval, "secondary": s.secondary, "record": str(path)}
                for c, s, path in zip(candidates, scores, paths, strict=True)
            ],
        })  # fmt: skip
    else:
        for candidate, score, path in zip(candidates, scores, paths, strict=True):
            out.print(f"{candidate.name:12} {shown(task, score)}  {path}", markup=False, soft_wrap=True)
    return 0 if all(score.ok for score in scores) else 1
