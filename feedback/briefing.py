"""What a feedback agent may see, as a list in code: nothing reaches it but by `brief`.

It may never see: report answers and texts, the evaluator's source, secret seeds before or after a scoring, the ids and raw
values of single cases, environment, paths of this machine. `tests/feedback/test_visibility.py` plants strings in these
places and looks for them in every prompt, trace and sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.trace import read_trace
from benchmarks.task import Direction, Score, Task
from feedback.archive import Archive, Try
from feedback.budget import Spent
from feedback.decision import Lever
from feedback.moves import moves_for

VISIBLE: Mapping[str, str] = {
    "instruction": "the task's public README, cut at MAX_INSTRUCTION characters",
    "metric": "name, unit and direction of what is scored",
    "program": "the best program's text, which is the agent's own work",
    "tries": "of each try: its name, parent, lever, edits, verdict, reason, score and gain on the search split, seconds",
    "moves": "names and first lines of the task's moves",
    "trace": "what programs asked the task's model on the search split, and its answers; cut",
    "weights": "hash of the adapter, and mean reward, valid share and entropy of each training round",
    "budget": "what is left",
}
"""Each entry, and what it holds. A `Briefing` has exactly these fields beside `task`; a test compares them."""

MAX_INSTRUCTION, MAX_REASON, MAX_TRIES, MAX_TRACE = 3000, 200, 40, 6
MAX_TRACE_TEXT = 300


@dataclass(frozen=True)
class Told:
    """One try as an agent sees it. All text that came out of a sandbox is cut to printable characters."""

    name: str
    generation: int
    lever: str
    edits: tuple[str, ...]
    parent: str
    verdict: str
    reason: str
    value: float | None
    gain: float | None
    kept: bool
    seconds: float


@dataclass(frozen=True)
class Briefing:
    """All that an agent is told before it decides."""

    task: str
    instruction: str
    metric: str
    program: str
    tries: tuple[Told, ...]
    moves: Mapping[str, str]
    trace: tuple[str, ...]
    weights: Mapping[str, object]
    budget: Spent

    def text(self, levers: Sequence[Lever]) -> str:
        """The briefing as a prompt."""
        rows = [
            f"- {t.name} ({t.lever}: {'+'.join(t.edits) or 'seed'}) {t.verdict}"
            + (f", {t.value:.4g}" if t.value is not None else f": {t.reason}")
            + (f", gain {t.gain:+.3g}" if t.gain is not None else "")
            + (", KEPT" if t.kept else "")
            for t in self.tries
        ]
        parts = [
            f"# Task: {self.task}\n{self.instruction}",
            f"# Score\n{self.metric}",
            "# Tries so far\n" + "\n".join(rows),
            "# Moves\n" + "\n".join(f"- {name}: {why}" for name, why in self.moves.items()),
            f"# Model\n{json.dumps(dict(self.weights))}" if self.weights else "",
            "# What programs asked the model\n" + "\n".join(self.trace) if self.trace else "",
            f"# Best program\n```python\n{self.program.rstrip()}\n```",
            f"# Budget left\n{self.budget.said()}",
            f"# Levers\n{', '.join(levers)}",
        ]
        return "\n\n".join(part for part in parts if part)


def name_of(tried: Try) -> str:
    """How a try is called: `g2.0` is the first of generation 2."""
    return f"g{tried.generation}.{tried.number}"


def brief(
    task: Task, archive: Archive, best: Try, *, left: Spent, weights: Mapping[str, object], trace: Path
) -> Briefing:
    """The briefing of a task's next generation. Raises ValueError once the report split was scored."""
    if archive.report(task.name) is not None:
        raise ValueError("after the report split was scored no agent is told anything more")
    better = "higher" if task.metric.direction is Direction.UP else "lower"
    kept = {g.best for g in archive.generations(task.name)}
    tries = archive.tries(task.name)
    names = {t.id: name_of(t) for t in tries}
    told = tuple(_told(t, names, t.id in kept) for t in tries[-MAX_TRIES:] if t.score is not None)
    return Briefing(
        task=task.title, instruction=instruction(task), program=archive.candidate(best).source, tries=told,
        metric=f"{task.metric.name} ({task.metric.unit}), {better} is better",
        moves={m.name: m.why for m in moves_for(task.name)}, trace=asked(trace, best.sha), weights=weights, budget=left,
    )  # fmt: skip


def instruction(task: Task) -> str:
    """The task's public README, cut."""
    return (task.folder / "README.md").read_text()[:MAX_INSTRUCTION]


def _told(tried: Try, names: Mapping[int, str], kept: bool) -> Told:
    score = Score.model_validate(tried.score)
    return Told(
        name_of(tried), tried.generation, tried.lever, tuple(tried.moves), names.get(tried.parent or 0, ""),
        score.verdict.value, printable(score.reason, MAX_REASON), score.value, tried.gain, kept, round(score.seconds, 2),
    )  # fmt: skip


def printable(text: str, most: int) -> str:
    """Untrusted text on one line: printable characters, cut, and no fence that could end a block of the prompt."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * most]).replace("```", "'''")
    return " ".join(line.split())[:most]


def asked(trace: Path, sha: str) -> tuple[str, ...]:
    """The last exchanges with the task's model that the best program made, from the trace of the search split."""
    if not trace.exists():
        return ()
    found = []
    for event in read_trace(trace):
        if event.get("label") != sha[:12]:
            continue
        request, answer = event.get("request"), event.get("answer")
        line = json.dumps({"asked": _last_text(request), "answer": answer}, ensure_ascii=False, default=str)
        found.append(printable(line, MAX_TRACE_TEXT))
    return tuple(found[-MAX_TRACE:])


def _last_text(request: object) -> object:
    if not isinstance(request, dict):
        return ""
    texts = request.get("prompts") or request.get("messages") or [""]
    return texts[0] if isinstance(texts, list) and texts else ""
