"""`ratchet score TASK FILE`: what is one candidate file worth?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.task import Split
from cli.options import BACKEND, JSON, RUNTIME, emit, out, spinner
from sandboxes import lease
from sandboxes.base import UserError


def score(
    task: Annotated[str, typer.Argument(help="A task's name; `ratchet tasks` lists them.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A Python file that defines what `ratchet tasks TASK` says, or a file of answers (.csv, .jsonl) where "
            "the task takes them; the task's seed without one."
        ),
    ] = None,
    split: Annotated[Split, typer.Option(help="Which part of the data.")] = Split.REPORT,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer repeats: to see whether it works, not for a record.")
    ] = False,
    note: Annotated[str, typer.Option(help="With a file of answers: how they were made, for the record.")] = "",
    backend: BACKEND = "auto",
    runtime: RUNTIME = None,
    json: JSON = False,
) -> int:
    """Score one candidate file in a fresh sandbox and write a record.

    A file of answers is scored without one, and its record says `submitted-file`.

    Exits 0 when the verdict is ok, 1 for any other verdict, 2 for a mistake of yours, 3 for a fault of ours.

    Example: ratchet score trimul my_kernel.py --json
    """
    from agents.models.gate import SocketGate
    from benchmarks.evaluator import Evaluator
    from benchmarks.registry import task as find
    from cli.scoring import read_candidate, score_file, shown
    from cli.submission import is_submission, score_submission
    from sandboxes.backends import choose_backend

    found = find(task)
    if file is not None and is_submission(file):
        if split is not Split.REPORT or quick:
            raise UserError("a file of answers is scored on the whole report split; leave --split and --quick away")
        with spinner(f"scoring {file.name} on {task}") as say:
            result, path = score_submission(task, file, say, note)
    else:
        if file is not None:
            read_candidate(file)  # A mistake is told before anything that takes time.
        label = f"scoring {file.name if file else 'the seed'} on {task}"
        with tempfile.TemporaryDirectory(prefix=lease.folder_prefix()) as folder, spinner(label) as say:
            gate = SocketGate(Path(folder) / "trace.jsonl") if found.uses_model else None
            factory = choose_backend(backend, runtime=runtime)
            with Evaluator(factory.name, runtime=runtime, model=gate, progress=say) as evaluator:
                result, path = score_file(task, file, evaluator, factory, say, split=split, quick=quick)
    if json:
        emit({
            "task": task, "split": split.value, "verdict": result.verdict.value, "reason": result.reason,
            "score": result.value, "metric": found.metric.name, "unit": found.metric.unit,
            "direction": found.metric.direction.value, "interval": result.interval, "secondary": result.secondary,
            "seconds": result.seconds, "record": str(path),
        })  # fmt: skip
    else:
        out.print(shown(task, result), markup=False)
        for name, value in result.secondary.items():
            out.print(f"    {name} {value:.4g}", markup=False)
        out.print(f"record: {path}", markup=False, soft_wrap=True)
    return 0 if result.ok else 1
