"""`ratchet log`, `show`, `diff`: what a run tried, why, and what became of it. Reading only; a run may be going on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from cli.options import JSON, emit, out
from cli.run import OUT, find_run
from feedback.archive import Archive, Generation, Try
from feedback.briefing import name_of
from feedback.budget import Spent
from results.store import RUNS
from sandboxes.base import UserError

RUN = Annotated[str | None, typer.Option("--run", help="A run's folder, or its name; the last one without.")]
TASK = Annotated[str | None, typer.Option(help="Which task of the run, where it has several.")]


def log(
    run: Annotated[str | None, typer.Argument(help="A run's folder, or its name; the last one without.")] = None,
    task: TASK = None,
    out_folder: OUT = RUNS,
    json: JSON = False,
) -> None:
    """Every try of a run: its lever, its edits, its score and gain, and what was kept.

    Example: ratchet log
    """
    with _opened(run, out_folder) as archive:
        names = [_task(archive, task)] if task else archive.tasks()
        told = {name: _log(archive, name) for name in names}
    if json:
        emit({"run": str(archive.folder), "tasks": told})
        return
    for name, found in told.items():
        # What a sandbox or a model said may be in a cell: `Text` is never read as markup.
        table = Table(title=name, title_justify="left", caption=_spent_line(found), caption_justify="left")
        for column in ("try", "of", "lever", "edits", "verdict", "score", "gain", "p", "why"):
            table.add_column(column, overflow="fold")
        for row in found["tries"]:
            table.add_row(
                f"[green]{row['name']}[/green]" if row["kept"] else row["name"], row["parent"], row["lever"],
                _plain("+".join(row["edits"]) or "seed"), row["verdict"], _number(row["value"]), _gain(row),
                _number(row["p"]), _plain(row["why"]),
            )  # fmt: skip
        out.print(table)


def show(
    which: Annotated[
        str, typer.Argument(help="A generation (3), or one try: its name (g3.1) or the beginning of its hash.")
    ],
    run: RUN = None,
    task: TASK = None,
    out_folder: OUT = RUNS,
    json: JSON = False,
) -> None:
    """One generation: lever, alternatives and evidence, canary, second evaluator; or one try: program, diff, verdict.

    Example: ratchet show 2        ratchet show g2.0
    """
    with _opened(run, out_folder) as archive:
        name = _task(archive, task)
        if which.isdigit():
            found = [g for g in archive.generations(name) if g.number == int(which)]
            if not found:
                raise UserError(f"{name} has no generation {which}; `ratchet log` lists them")
            told = _generation(archive, found[0])
        else:
            told = _try(archive, find_try(archive, name, which))
    if json:
        emit(told)
        return
    plain = {k: v for k, v in told.items() if k not in ("source", "diff", "tries", "decision")}
    parts: list[Any] = [
        Panel(
            _plain("\n".join(f"{k}: {v}" for k, v in plain.items() if v not in (None, "", {}, []))), title=_plain(which)
        )
    ]
    parts += [Panel(_plain(str(told["decision"])), title="decision")] if told.get("decision") else []
    parts += [
        _plain(f"{t['name']} {'+'.join(t['edits'])}: {t['verdict']} {_number(t['value'])} {t['why']}")
        for t in told.get("tries", [])
    ]
    parts += [_coloured(told["diff"])] if told.get("diff") else []
    out.print(Group(*parts))


def diff(
    a: Annotated[str, typer.Argument(help="A try: its name (g2.0), or the beginning of its hash.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    run: RUN = None,
    task: TASK = None,
    out_folder: OUT = RUNS,
    json: JSON = False,
) -> None:
    """What one program of a run has that another has not, as a unified diff.

    Example: ratchet diff g0.0 g3.1
    """
    with _opened(run, out_folder) as archive:
        name = _task(archive, task)
        one, two = find_try(archive, name, a), find_try(archive, name, b)
        text = _diff(archive, one, two)
    if json:
        emit({"a": one.sha, "b": two.sha, "diff": text, "weights": [one.weights, two.weights]})
    elif text:
        out.print(_coloured(text) if out.is_terminal else text, markup=False, soft_wrap=True)
    else:
        out.print("the programs are the same" + ("" if one.weights == two.weights else "; their adapters are not"))


@contextmanager
def _opened(run: str | None, root: Path) -> Iterator[Archive]:
    folder = find_run(run, root)
    if not (folder / "archive.sqlite").is_file():
        raise UserError(f"{folder} has no archive: nothing was tried yet")
    archive = Archive(folder)
    try:
        yield archive
    finally:
        archive.close()


def _task(archive: Archive, name: str | None) -> str:
    names = archive.tasks()
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        raise UserError(f"which task? --task {' | '.join(names)}" if names else "nothing was tried yet")
    return name


def find_try(archive: Archive, task: str, which: str) -> Try:
    """A try by its name or the beginning of its hash. Raises UserError."""
    tries = archive.tries(task)
    found = [t for t in tries if name_of(t) == which] or [
        t for t in tries if len(which) >= 4 and t.sha.startswith(which)
    ]
    if not found:
        raise UserError(f"{task} has no try {which!r}; `ratchet log` lists them")
    if len({t.sha for t in found}) > 1:
        raise UserError(f"{which!r} is the beginning of {len(found)} hashes: give more of it")
    return found[0]


def _row(tried: Try, names: dict[int, str], kept: bool) -> dict[str, Any]:
    score = tried.scored
    return {
        "name": name_of(tried), "sha": tried.sha, "parent": names.get(tried.parent or 0, ""), "lever": tried.lever,
        "edits": list(tried.moves), "weights": tried.weights, "stage": tried.stage, "verdict": score.verdict.value if score else "",
        "reason": score.reason if score else "", "value": score.value if score else None,
        "interval": score.interval if score else None, "gain": tried.gain, "gain_interval": [tried.gain_low, tried.gain_high],
        "p": tried.p, "alpha": tried.alpha, "kept": kept, "why": tried.why, "seconds": score.seconds if score else 0.0,
    }  # fmt: skip


def _log(archive: Archive, task: str) -> dict[str, Any]:
    tries, generations = archive.tries(task), archive.generations(task)
    names, kept = {t.id: name_of(t) for t in tries}, {g.best for g in generations}
    books = archive.spending(task)
    spent = Spent(books.candidates, books.seconds, books.tokens, books.money)
    return {
        "tries": [_row(t, names, t.id in kept) for t in tries], "spent": asdict(spent), "malformed": books.malformed,
        "stopped": books.stopped, "generations": len([g for g in generations if g.best is not None and g.number]),
    }  # fmt: skip


def _generation(archive: Archive, row: Generation) -> dict[str, Any]:
    tries = archive.tries(row.task)
    names = {t.id: name_of(t) for t in tries}
    return {
        "task": row.task, "generation": row.number, "lever": row.lever, "why": row.why, "evidence": row.evidence,
        "decision": row.decision, "adapter": row.adapter, "gain": row.gain, "canary": row.canary, "watch": row.watch,
        "cost": row.cost, "best": names.get(row.best or 0, "unfinished"),
        "tries": [_row(t, names, t.id == row.best) for t in tries if t.generation == row.number],
    }  # fmt: skip


def _try(archive: Archive, tried: Try) -> dict[str, Any]:
    names = {t.id: name_of(t) for t in archive.tries(tried.task)}
    told = _row(tried, names, any(g.best == tried.id for g in archive.generations(tried.task)))
    score = tried.scored
    return {
        **told, "lineage": archive.lineage(tried), "secondary": score.secondary if score else {},
        "advice": score.advice if score else [], "seed_commitment": tried.committed,
        "diff": _diff(archive, archive.get(tried.parent), tried) if tried.parent else "",
        "source": archive.candidate(tried).source,
    }  # fmt: skip


def _diff(archive: Archive, one: Try, two: Try) -> str:
    a, b = (archive.candidate(t).source.splitlines(keepends=True) for t in (one, two))
    return "".join(difflib.unified_diff(a, b, fromfile=name_of(one), tofile=name_of(two)))


def _spent_line(found: dict[str, Any]) -> str:
    said = f"{found['generations']} generations, {Spent(**found['spent']).said()}"
    said += f", {found['malformed']} answers of the agent were no decision" if found["malformed"] else ""
    return said + (f"; ended: {found['stopped']}" if found["stopped"] else "")


def _plain(text: str) -> Text:
    """Text that programs and models wrote some of: no markup, and nothing that a terminal obeys."""
    return Text("".join(c if c.isprintable() or c in "\n\t" else "?" for c in text))


def _coloured(diff: str) -> Syntax:
    return Syntax(_plain(diff).plain, "diff", background_color="default")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _gain(row: dict[str, Any]) -> str:
    low, high = row["gain_interval"]
    return "" if row["gain"] is None else f"{row['gain']:+.3g} [{low:+.3g}, {high:+.3g}]"
