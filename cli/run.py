"""`ratchet run`: let the loop improve a harness on each task, then score the report split once."""

from __future__ import annotations

import json as json_
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock, Timeout
from rich.table import Table

from cli.options import BACKEND, JSON, RUNTIME, emit, err, out
from feedback.loop import Finished, Plan
from results.record import Record
from results.store import RUNS, write_atomically
from sandboxes.base import UserError


@dataclass(frozen=True)
class Preset:
    """A named amount of work."""

    tasks: tuple[str, ...]
    plan: Plan


PRESETS = {
    "demo": Preset(("lawbench", "denoising", "trimul"), Plan(generations=3, width=4)),
    "quick": Preset(("denoising",), Plan(generations=1, width=2, quick=True)),
}


def run(
    preset: Annotated[str, typer.Option(help=f"How much to do: {', '.join(PRESETS)}.")] = "demo",
    task: Annotated[list[str] | None, typer.Option(help="Only this task (may be given several times).")] = None,
    generations: Annotated[int | None, typer.Option(min=1, help="Generations per task.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Tries per generation.")] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Where runs are kept.")] = RUNS,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run of the same settings.")] = False,
    backend: BACKEND = "auto",
    runtime: RUNTIME = None,
    json: JSON = False,
) -> None:
    """Improve a harness on each task, generation by generation, and publish the best against its seed.

    A change is kept only when a paired comparison on the search split says that it is better. The report split is
    scored once, at the end. Kill it at any moment; the same command with --resume goes on.

    Example: ratchet run --preset demo
    """
    from benchmarks.registry import task as find

    if preset not in PRESETS:
        raise UserError(f"no preset called {preset!r}; there are {', '.join(PRESETS)}")
    base = PRESETS[preset]
    names = tuple(dict.fromkeys(task)) if task else base.tasks
    for name in names:
        find(name)
    plan = Plan(generations or base.plan.generations, width or base.plan.width, base.plan.quick)
    settings = {"preset": preset, "tasks": list(names), **asdict(plan)}
    folder = (_last(out_folder, settings) if resume else None) or _new(out_folder, settings)
    try:
        with FileLock(folder / ".lock", timeout=0):
            finished = _tasks(names, plan, folder, backend, runtime)
    except Timeout:
        raise UserError(f"another ratchet is working on {folder}") from None
    except KeyboardInterrupt:
        err.print(f"interrupted; the same command with --resume goes on with {folder}", markup=False, soft_wrap=True)
        raise
    if json:
        emit([{"record": str(f.path), **f.record.model_dump(mode="json", exclude={"best": {"units", "tables"}, "seed": {"units", "tables"}})}
              for f in finished])  # fmt: skip
    else:
        out.print(table(finished))
        for f in finished:
            out.print(f"{f.record.task}: {f.path}", markup=False, soft_wrap=True)


def _tasks(names: tuple[str, ...], plan: Plan, folder: Path, backend: str, runtime: str | None) -> list[Finished]:
    from agents.models.gate import SocketGate
    from benchmarks.evaluator import Evaluator
    from benchmarks.registry import task as find
    from feedback.archive import Archive
    from feedback.loop import Loop
    from feedback.proposer import MoveSearch
    from sandboxes.backends import choose_backend
    from sandboxes.images import build

    finished = []
    factory = choose_backend(backend, runtime=runtime)
    archive = Archive(folder)
    try:
        with _live() as (say, status):
            gate = SocketGate(folder / "trace" / "model.jsonl")
            with Evaluator(factory.name, runtime=runtime, model=gate, progress=status, ahead=2) as evaluator:
                for name in names:
                    task = find(name)
                    task.fetch(status)
                    build(factory, task.image, status)
                    voice = partial(say, name)
                    finished.append(Loop(task, plan, MoveSearch(), archive, evaluator, voice).run())
                    voice("done")
    finally:
        archive.close()
    return finished


@contextmanager
def _live() -> Iterator[tuple[Callable[[str, str], None], Callable[[str], None]]]:
    """Lines as they happen, and below them a spinner with what is being done; plain lines where there is no terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        row = progress.add_task("starting")

        def say(name: str, message: str) -> None:
            clock = datetime.now().strftime("%H:%M:%S")
            progress.console.print(f"[dim]{clock}[/dim] [bold]{name}[/bold] {message}", soft_wrap=True)

        yield say, lambda message: progress.update(row, description=message)


def _new(root: Path, settings: dict[str, object]) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    folder = root / f"{stamp}-{settings['preset']}"
    write_atomically(folder / "run.json", json_.dumps(settings, indent=1).encode())
    return folder


def _last(root: Path, settings: dict[str, object]) -> Path | None:
    """The newest run of the same settings, finished or not: resuming a finished one shows its table again."""
    for path in sorted(root.glob("*/run.json"), reverse=True):
        try:
            if json_.loads(path.read_text()) == settings:
                return path.parent
        except (OSError, ValueError):
            continue
    err.print("nothing to resume with these settings; starting a new run", markup=False)
    return None


def shown_gain(r: Record) -> str:
    """Best against seed on the same units: `x2.6 [2.3, 2.9]` for a ratio, else a signed difference."""
    if r.gain is None or r.gain_interval is None:
        return "-"
    low, high = r.gain_interval
    if r.gain_is_ratio:
        return f"x{r.gain:.3g} [{low:.3g}, {high:.3g}]"
    return f"{r.gain:+.3g} [{low:+.3g}, {high:+.3g}]"


def table(finished: list[Finished]) -> Table:
    """The final table: one line a task, all scores on the report split."""
    made = Table(title="Report split, scored once", title_justify="left")
    for column in (
        "task",
        "metric",
        "seed",
        "best",
        "95 % interval",
        "gain over seed (paired)",
        "lever",
        "gen",
        "wall",
    ):
        made.add_column(column, overflow="fold")
    for f in finished:
        r = f.record
        arrow = "↑" if r.direction == "up" else "↓"
        seed = r.seed.value if r.seed and r.seed.value is not None else None
        interval = "[{:.4g}, {:.4g}]".format(*r.best.interval) if r.best.interval else r.best.verdict
        gain = shown_gain(r)
        made.add_row(
            r.task, f"{r.metric} {arrow}\n({r.unit})", "-" if seed is None else f"{seed:.4g}",
            "-" if r.best.value is None else f"{r.best.value:.4g}", interval, gain, r.lever, str(r.generation),
            f"{r.wall_seconds:.0f} s",
        )  # fmt: skip
    return made
