"""Options and words that several verbs share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines instead of text.")]
BACKEND = Annotated[
    str, typer.Option(help="Where untrusted code runs: docker, bubblewrap, or auto (docker if it answers).")
]
RUNTIME = Annotated[str | None, typer.Option(help="Docker's runtime, e.g. runsc for gVisor.")]

err = Console(stderr=True, highlight=False)
out = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
"""Piped output gets room for the tables: nobody wants eighty columns in a log."""


def emit(value: Any) -> None:
    """Print a JSON document to stdout."""
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


@contextmanager
def spinner(what: str) -> Iterator[Callable[[str], None]]:
    """Show what is going on, on stderr, with the seconds it takes; yields the way to change the words."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    if not err.is_terminal:
        yield lambda message: err.print(message, markup=False)
        return
    with Progress(*columns, console=err, transient=True) as progress:
        row = progress.add_task(what)
        yield lambda message: progress.update(row, description=message)
