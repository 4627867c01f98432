"""Find tasks by folder: `benchmarks/**/<name>/score.py` with a `TASK` makes a task called `<name>`.

A variant is a folder inside a task's folder and is called `<task>-<variant>`; the seed may be its parent's.
"""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path

from benchmarks.task import Task
from sandboxes.base import UserError

ROOT = Path(__file__).parent


def _folders() -> dict[str, Path]:
    """Every task's folder by its name."""
    found = [p.parent for p in ROOT.rglob("score.py") if (p.parent / "seed").is_dir() or _is_variant(p.parent)]
    return {f"{p.parent.name}-{p.name}" if _is_variant(p) else p.name: p for p in found}


def _is_variant(folder: Path) -> bool:
    return (folder.parent / "score.py").is_file()


def task_names() -> list[str]:
    """Names of all tasks, sorted. Nothing is imported for it."""
    return sorted(_folders())


def task(name: str) -> Task:
    """The task of that name. Raises UserError with the nearest name when there is none."""
    folders = _folders()
    if name not in folders:
        near = difflib.get_close_matches(name, sorted(folders), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(folders))}"
        raise UserError(f"no task called {name!r}; {hint}")
    module = ".".join([*folders[name].relative_to(ROOT.parent).parts, "score"])
    found = importlib.import_module(module).TASK
    if not isinstance(found, Task):
        raise TypeError(f"{module}.TASK is not a Task")
    return found
