"""Code moves: small named edits that the baseline proposer searches over.

A move is a function `source -> new source`. It raises `EditError` when it does not fit, and returns the source
unchanged when it has nothing to add. `moves_for(task)` lists the moves of a task, in the order they are defined.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from training.actions import Edit as Option

Edit = Callable[[str], str]


@dataclass(frozen=True)
class Move:
    """A named edit. Its docstring says what it does to a harness and why that might help."""

    name: str
    task: str
    edit: Edit

    @property
    def why(self) -> str:
        """The first line of the edit's docstring."""
        return (self.edit.__doc__ or "").strip().splitlines()[0]


_MOVES: dict[str, list[Move]] = {}


def move(task: str) -> Callable[[Edit], Edit]:
    """Register a function of `feedback/moves/<task>.py` as a move of that task, named after the function."""

    def register(edit: Edit) -> Edit:
        if not (edit.__doc__ or "").strip():
            raise ValueError(f"move {edit.__name__} needs a docstring")
        _MOVES.setdefault(task, []).append(Move(edit.__name__, task, edit))
        return edit

    return register


def edits_for(task: str) -> list[Option]:
    """The moves of a task as `training.actions` takes them."""
    return [Option(m.name, m.why, m.edit) for m in moves_for(task)]


def moves_for(task: str) -> list[Move]:
    """The moves of a task, or of the task that it is a variant of (`<task>-<variant>`); empty when it has none."""
    parent = task.partition("-")[0]
    try:
        importlib.import_module(f"feedback.moves.{parent}")
    except ModuleNotFoundError as error:
        if error.name != f"feedback.moves.{parent}":
            raise
    return list(_MOVES.get(parent, []))
