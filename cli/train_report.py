"""What `ratchet train` shows: a line for each round, and at the end the adapter, the best program and the plot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cli.options import emit, err, out
from results.store import write_atomically

if TYPE_CHECKING:
    from training.history import Round
    from training.rounds import Finished

COLUMNS = (
    ("round", 7), ("reward", 8), ("best", 8), ("KL", 9), ("entropy", 8), ("valid", 6), ("tok/s", 7), ("sample", 8),
    ("sandbox", 8), ("update", 8), ("hand-over", 10), ("note", 0),
)  # fmt: skip


@contextmanager
def live(rounds: int) -> Iterator[tuple[Callable[[str], None], Callable[[Round], None]]]:
    """A line for each round, and below them a spinner with what is being done; plain lines where there is no terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        row = progress.add_task("starting")
        printed: list[int] = []

        def show(line: Round) -> None:
            if not printed:
                progress.console.print(
                    "".join(name.rjust(width) for name, width in COLUMNS[:-1]), markup=False, soft_wrap=True
                )
            printed.append(line.number)
            progress.console.print(_row(line, rounds), markup=False, soft_wrap=True)

        def say(message: str) -> None:
            progress.update(row, description=message)

        yield say, show


def _row(line: Round, rounds: int) -> str:
    seconds, updated = line.seconds, not line.stats.skipped
    cells = (
        f"{line.number}/{rounds}", f"{line.reward:+.3f}", f"{line.best:+.3f}", "-" if line.kl is None else f"{line.kl:.5f}",
        f"{line.entropy:.2f}", f"{line.valid / max(1, line.actions):.0%}",
        f"{line.stats.tokens_per_second:.0f}" if updated else "-", f"{seconds['sampling']:.1f} s",
        f"{seconds['sandbox']:.1f} s", f"{seconds['update']:.1f} s", f"{seconds.get('hand_over', 0):.1f} s",
    )  # fmt: skip
    note = line.stopped or line.stats.skipped
    shown = "".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=False))
    return f"{shown}  {note}" if note else shown


def tell(finished: Finished, title: str, folder: Path, json: bool) -> None:
    """Draw the plot, write the best program, and say where everything is."""
    from training.plot import plot

    picture = plot(finished.rounds, title, folder / "training.png")
    best = write_atomically(folder / "best.py", finished.best.source.encode())
    if json:
        emit({
            "folder": str(folder), "stopped": finished.stopped, "adapter": finished.adapter,
            "best": {"gain": finished.best_gain, "done": finished.best.done, "program": str(best)},
            "plot": str(picture) if picture else None, "rounds": [asdict(r) for r in finished.rounds],
        })  # fmt: skip
        return
    if finished.stopped:
        out.print(f"stopped: {finished.stopped}", markup=False, soft_wrap=True)
    out.print(f"adapter: {finished.adapter or 'none (the base model)'}", markup=False, soft_wrap=True)
    way = " + ".join(finished.best.done) or "the seed itself"
    out.print(f"best program: {way}, gain over the seed {finished.best_gain:+.4g} (search split): {best}",
              markup=False, soft_wrap=True)  # fmt: skip
    out.print(
        f"plot: {picture}" if picture else "no plot: pip install ratchet-bench[plots]", markup=False, soft_wrap=True
    )
    out.print(f"log: {folder / 'rounds.jsonl'}", markup=False, soft_wrap=True)
