"""Every action from a few programs of a task, each scored once: what the experiment's policies and searches draw from.

A place is a program; its row of the table holds the gain of each option of its menu. A chunk of options and the place's own
program are scored under one secret seed, so gains are paired. Whoever draws an option again gets the same score again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.evaluator import Evaluator
from benchmarks.task import Candidate, Split, Task
from feedback.moves import edits_for
from results.store import write_atomically
from training.actions import Place, menu
from training.rewards import reward

PLACES = ("seed", "best of the seed", "second of the seed")
CHUNK = 8
"""Options that share a secret seed and one scoring of their place's program."""


@dataclass(frozen=True)
class Row:
    """All options of one place."""

    place: Place
    rewards: dict[str, float]


def place(name: str, task: Task, rows: Mapping[str, Row]) -> Place:
    """The seed program, or what its best or second best option makes of it; `rows` must hold the seed's row for these."""
    if name == PLACES[0]:
        return Place(task.seed().source)
    rewards = rows[PLACES[0]].rewards
    chosen = sorted(rewards, key=lambda text: -rewards[text])[PLACES.index(name) - 1]
    return Place(menu(rows[PLACES[0]].place.source, edits_for(task.name))[chosen], (chosen,))


def build(
    task: Task, evaluator: Evaluator | None, file: Path, budget: Callable[[], bool], places: Sequence[str] = PLACES
) -> dict[str, Row]:
    """The rows of these places that are whole; those that are not are scored first, as long as `budget` allows.

    Goes on from what `file` (JSON) holds, and writes it after each chunk. Without an evaluator nothing is scored.
    """
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    rows: dict[str, Row] = {}
    for name in places:
        here = place(name, task, rows)
        options = menu(here.source, edits_for(task.name))
        chunks = kept.setdefault(name, {"place": asdict(here), "chunks": []})["chunks"]
        texts = list(options)
        for start in range(len(chunks) * CHUNK, len(texts), CHUNK):
            if evaluator is None or not budget():
                return rows
            chunks.append(_chunk(task, evaluator, here, {text: options[text] for text in texts[start : start + CHUNK]}))
            write_atomically(file, json.dumps(kept, indent=1).encode())
        told = {text: found for chunk in chunks for text, found in chunk["options"].items()}
        if list(told) != texts:
            raise ValueError(f"{file} was made with other moves or another seed program: delete it")
        rows[name] = Row(here, {t: f["reward"] for t, f in told.items()})
    return rows


def _chunk(task: Task, evaluator: Evaluator, here: Place, options: Mapping[str, str]) -> dict[str, Any]:
    """Score a few options and the place's own program under one secret seed."""
    programs = [Candidate(source=here.source), *(Candidate(source=p, name=text) for text, p in options.items())]
    old, *scores = evaluator.evaluate(task.name, programs, Split.SEARCH, quick=True)
    if not old.ok:
        raise ValueError(f"the program to start from scored {old.verdict.value}: {old.reason}")
    return {
        "seed_commitment": old.seed_commitment, "seed_revealed": old.seed_revealed,
        "place": {"value": old.value, "secondary": old.secondary, "seconds": old.seconds},
        "options": {
            text: {"reward": reward(task, score, old), "verdict": score.verdict.value, "reason": score.reason,
                   "value": score.value, "secondary": score.secondary, "seconds": score.seconds, "sha": program.sha}
            for text, program, score in zip(options, programs[1:], scores, strict=True)
        },
    }  # fmt: skip
