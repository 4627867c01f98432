"""`ratchet run` and `ratchet resume`: let the loop improve a harness on each task, then score the report split once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cli.options import BACKEND, JSON, RUNTIME, emit, err, out
from cli.settings import Settings, carry_out, last_run, new_folder
from feedback.levers import POLICIES
from feedback.report import Finished
from results.record import Record
from results.store import RUNS
from sandboxes.base import UserError


@dataclass(frozen=True)
class Preset:
    """A named amount of work."""

    tasks: tuple[str, ...]
    generations: int
    width: int
    quick: bool = False


PRESETS = {
    "demo": Preset(("lawbench", "denoising", "trimul"), generations=3, width=4),
    "quick": Preset(("denoising",), generations=1, width=2, quick=True),
}
OUT = Annotated[Path, typer.Option("--out", help="Where runs are kept.")]


def run(
    preset: Annotated[str, typer.Option(help=f"How much to do: {', '.join(PRESETS)}.")] = "demo",
    task: Annotated[list[str] | None, typer.Option(help="Only this task (may be given several times).")] = None,
    generations: Annotated[int | None, typer.Option(min=1, help="Generations per task.")] = None,
    width: Annotated[int | None, typer.Option(min=1, max=8, help="Tries per generation.")] = None,
    agent: Annotated[
        str, typer.Option(help="Who improves: search (offline, over moves) or llm (a language model).")
    ] = "search",
    levers: Annotated[str, typer.Option(help=f"Which lever is pulled: {', '.join(POLICIES)}.")] = "harness",
    model: Annotated[
        str, typer.Option(help="Of --agent llm: local (SmolLM2, on this machine), or langchain's provider:model.")
    ] = "local",
    url: Annotated[
        str | None, typer.Option(help="A server that speaks the provider's protocol, e.g. of `ratchet serve-model`.")
    ] = None,
    context: Annotated[int, typer.Option(min=1000, help="Longest prompt of --agent llm, in characters.")] = 24_000,
    candidates: Annotated[int | None, typer.Option(help="Budget per task: programs scored.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Budget per task: seconds of generations.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Budget per task: tokens of the agent's model.")] = None,
    money: Annotated[float | None, typer.Option(help="Budget per task: money, with --price.")] = None,
    price: Annotated[
        str, typer.Option(help="Of a million tokens of the agent's model: PROMPT,ANSWER.", metavar="P,A")
    ] = "0,0",
    watch: Annotated[
        bool, typer.Option(help="Score a canary in each generation, and each step by a second evaluator.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the agent's draws; scoring seeds are secret.")] = 0,
    out_folder: OUT = RUNS,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run of the same settings.")] = False,
    backend: BACKEND = "auto",
    runtime: RUNTIME = None,
    json: JSON = False,
) -> None:
    """Improve a program on each task, generation by generation, and publish the best against its seed.

    In each generation one lever is pulled: the harness (edits of the program) or the weights (training of the task's model).
    A change is kept only when a paired comparison on the search split says that it is better. The report split is
    scored once, at the end. Kill it at any moment; `ratchet resume` goes on. `ratchet log` shows what happened.

    Example: ratchet run --preset demo

    Example: ratchet run --task denoising --levers bandit --generations 8 --candidates 200
    """
    from benchmarks.registry import task as find

    if preset not in PRESETS:
        raise UserError(f"no preset called {preset!r}; there are {', '.join(PRESETS)}")
    base = PRESETS[preset]
    names = tuple(dict.fromkeys(task)) if task else base.tasks
    for name in names:
        find(name)
    settings = Settings(
        preset, names, generations or base.generations, width or base.width, base.quick, agent, levers, model, url, context,
        candidates, seconds, tokens, money, _prices(price), watch, seed,
    )  # fmt: skip
    folder = last_run(out_folder, settings) if resume else None
    if resume and folder is None:
        err.print("nothing to resume with these settings; starting a new run", markup=False)
    _show(carry_out(settings, folder or new_folder(out_folder, settings), backend, runtime), json)


def resume(
    run: Annotated[str | None, typer.Argument(help="A run's folder, or its name; the last one without.")] = None,
    out_folder: OUT = RUNS,
    backend: BACKEND = "auto",
    runtime: RUNTIME = None,
    json: JSON = False,
) -> None:
    """Go on with a run that was killed, with the settings it was started with. A finished one shows its table again.

    Example: ratchet resume
    """
    folder = find_run(run, out_folder)
    _show(carry_out(Settings.read(folder), folder, backend, runtime), json)


def find_run(run: str | None, root: Path) -> Path:
    """The folder of a run, by its path or name. Raises UserError."""
    if run is None:
        found = last_run(root)
        if found is None:
            raise UserError(f"no run in {root} yet; start one with `ratchet run`")
        return found
    for path in (Path(run), root / run):
        if (path / "run.json").is_file():
            return path
    raise UserError(f"no run called {run!r} in {root}")


def _prices(text: str) -> tuple[float, float]:
    try:
        prompt, answer = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--price is two numbers, PROMPT,ANSWER, not {text!r}") from None
    if not (0 <= prompt < float("inf") and 0 <= answer < float("inf")):
        raise UserError(f"prices are not negative: {text!r}")
    return prompt, answer


def _show(finished: list[Finished], json: bool) -> None:
    if json:
        bulky = {"best": {"units", "tables"}, "seed": {"units", "tables"}}
        emit([{"record": str(f.path), **f.record.model_dump(mode="json", exclude=bulky)} for f in finished])
        return
    out.print(table(finished))
    for f in finished:
        out.print(f"{f.record.task}: {f.path}", markup=False, soft_wrap=True)


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
    columns = ("task", "metric", "seed", "best", "95 % interval", "gain over seed (paired)", "lever", "gen", "wall")
    for column in columns:
        made.add_column(column, overflow="fold")
    for f in finished:
        r = f.record
        arrow = "↑" if r.direction == "up" else "↓"
        seed = r.seed.value if r.seed and r.seed.value is not None else None
        interval = "[{:.4g}, {:.4g}]".format(*r.best.interval) if r.best.interval else r.best.verdict
        made.add_row(
            r.task, f"{r.metric} {arrow}\n({r.unit})", "-" if seed is None else f"{seed:.4g}",
            "-" if r.best.value is None else f"{r.best.value:.4g}", interval, shown_gain(r), r.lever, str(r.generation),
            f"{r.wall_seconds:.0f} s",
        )  # fmt: skip
    return made
