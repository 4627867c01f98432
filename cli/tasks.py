"""`ratchet tasks [NAME]`: what there is to be good at, and what a candidate file must define."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.table import Table

from benchmarks.registry import task as find
from benchmarks.registry import task_names
from cli.options import JSON, emit, out


def tasks(
    name: Annotated[str | None, typer.Argument(help="Show one task: what its file must define, metric, data.")] = None,
    json: JSON = False,
) -> None:
    """List the tasks, or explain one."""
    found = [find(n) for n in ([name] if name else task_names())]
    facts = [
        {"name": t.name, "title": t.title, "metric": t.metric.name, "unit": t.metric.unit,
         "direction": t.metric.direction.value, "image": t.image, "uses_model": t.uses_model, "missing": t.missing()}
        for t in found
    ]  # fmt: skip
    if name:
        readme = (found[0].folder / "README.md").read_text()
        if json:
            emit({**facts[0], "readme": readme, "seed": found[0].seed().source})
        else:
            out.print(Markdown(readme) if out.is_terminal else readme, markup=False)
        return
    if json:
        emit(facts)
        return
    table = Table("task", "what it is", "metric", "unit", "better")
    for t in found:
        table.add_row(t.name, t.title, t.metric.name, t.metric.unit, t.metric.direction.value)
    out.print(table)
    out.print("`ratchet tasks NAME` says what a candidate file must define.")
