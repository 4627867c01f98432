"""`ratchet data fetch`: get the model and the tasks' data, by hash."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.registry import task as find
from benchmarks.registry import task_names
from cli.options import JSON, emit, out, spinner

app = typer.Typer(help="The model and the tasks' data.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The model and the tasks' data."""


@app.command("fetch")
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Tasks, or `model`; all of them without one.")] = None,
    json: JSON = False,
) -> None:
    """Fetch what is not in the cache yet. Every file is checked by its hash; a broken download is taken up again."""
    from agents.models.smollm2 import fetch_model

    wanted = names or ["model", *(name for name in task_names() if not find(name).optional_data)]
    chosen = [(n, fetch_model if n == "model" else find(n).fetch) for n in wanted]
    for name, get in chosen:
        with spinner(f"{name}: fetching") as say:
            get(say)
        if not json:
            out.print(f"{name}: at hand")
    if json:
        emit({"fetched": wanted})
