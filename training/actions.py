"""What a policy may do to a program, in three action spaces: the smaller the model, the narrower.

    choice    one of the named moves, or one constant given another value: constrained decoding, so always valid
    diff      search-and-replace blocks, parsed strictly
    program   the whole program in a fenced block

An answer is text and is parsed, never executed. One that is no action in its space is `Action.program is None`, with the
reason in `why`: it costs no sandbox, and the floor of the rewards is its reward.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from agents.edits import EditError, numeric_constants, search_and_replace, set_constant, whole_program
from agents.models.choice import drawn, paths
from agents.models.policy import Policy, Scored
from benchmarks.task import Direction, Task
from sandboxes.base import UserError

LARGEST_OF_CHOICE, LARGEST_OF_DIFF = 1_000_000_000, 15_000_000_000
"""Parameters: a model of up to so many gets this space when none is asked for."""
PROBES = 8


@dataclass(frozen=True)
class Edit:
    """A named edit, e.g. a move of `feedback/moves/`. `apply` raises EditError where it does not fit."""

    name: str
    why: str
    apply: Callable[[str], str]


@dataclass(frozen=True)
class Place:
    """Where the policy acts: a program, and what was done to the seed to get there."""

    source: str
    done: tuple[str, ...] = ()


@dataclass(frozen=True)
class Action:
    """One answer of the policy at one place."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Natural log-probability with which the sampler drew each token."""
    allowed: tuple[tuple[int, ...], ...] | None
    """See `training.rollout.Rollout.allowed`."""
    text: str
    program: str | None
    """The program that the action leads to; None when the answer is no action."""
    why: str = ""
    """Why it is none."""


@dataclass(frozen=True)
class Acts:
    """What the policy did at one place."""

    actions: list[Action]
    chances: dict[str, float] | None = None
    """Exact log-probability of every option, where the options are finite."""


class Space(Protocol):
    """An action space of one task."""

    @property
    def name(self) -> str:
        """How it is called on the command line."""
        ...

    def prompt(self, place: Place) -> str:
        """What the policy is told."""
        ...

    def act(self, policy: Policy, place: Place, n: int, *, temperature: float, seed: int) -> Acts:
        """`n` independent actions at one place."""
        ...

    def probe(self, policy: Policy, place: Place) -> list[Scored]:
        """A fixed batch to compare trainer and sampler on: the prompt, and answers such as are trained."""
        ...


def menu(source: str, edits: Sequence[Edit]) -> dict[str, str]:
    """The programs that one edit or one value leads to, by the option's text. No two are the same, none is `source`.

    Values: a constant that is a number gets a half and the double (whole), 0.8 and 1.25 times (broken), or 0.1 (zero).
    """
    made: dict[str, str] = {}
    for edit in edits:
        try:
            made[edit.name] = edit.apply(source)
        except EditError:
            continue
    for name, old in numeric_constants(source).items():
        for value in _values(old):
            made[f"{name} = {value!r}"] = set_constant(source, name, value)
    seen, options = {source}, {}
    for text, program in made.items():
        if program not in seen:
            seen.add(program)
            options[text] = program
    return options


def _values(old: int | float) -> list[int | float]:
    if isinstance(old, int):
        return [v for v in (old // 2, old * 2) if v > 0 and v != old]
    if not math.isfinite(old):
        return []
    return [float(f"{old * by:.3g}") for by in (0.8, 1.25)] if old else [0.1]


@dataclass(frozen=True)
class Choice:
    """One option of the menu, decoded within the list of options."""

    task: Task
    edits: Sequence[Edit]
    name: str = "choice"

    def prompt(self, place: Place) -> str:
        """The task, what was done to the seed, and the options with the values that constants have now."""
        options = menu(place.source, self.edits)
        moves = [edit.name for edit in self.edits if edit.name in options]
        values = []
        for name, old in numeric_constants(place.source).items():
            others = [repr(v) for v in _values(old) if f"{name} = {v!r}" in options]
            values.append(f"{name} {old!r}" + (f" -> {', '.join(others)}" if others else ""))
        return (
            f"{_goal(self.task)}\nDone: {', '.join(place.done) or 'nothing'}\nMoves: {', '.join(moves)}\n"
            f"Values: {'; '.join(values)}\nBest next option?"
        )

    def distribution(
        self, policy: Policy, place: Place, *, temperature: float = 1.0
    ) -> tuple[tuple[int, ...], dict[str, str], tuple[float, ...]]:
        """The prompt's ids, the menu, and the exact log-probability of each of its options. Raises UserError: no option."""
        options = menu(place.source, self.edits)
        if not options:
            raise UserError(f"no move or constant of {self.task.name} fits this program: take another action space")
        prompt = policy.encode_chat([{"role": "user", "content": self.prompt(place)}])
        found = policy.choose([prompt], [_answers(options)], temperature=temperature)[0]
        return tuple(prompt), options, found.logprobs

    def act(self, policy: Policy, place: Place, n: int, *, temperature: float, seed: int) -> Acts:
        """See `Space.act`. The model is asked once: the draws come from the exact probabilities of all options."""
        prompt, options, logprobs = self.distribution(policy, place, temperature=temperature)
        made, allowed = paths([policy.encode(text) for text in _answers(options)], end=-1)
        # Probability of each node of the tree: a token's is that of its node given the node before.
        mass: dict[tuple[int, ...], float] = {}
        for path, logprob in zip(made, logprobs, strict=True):
            for i in range(len(path) + 1):
                mass[path[:i]] = mass.get(path[:i], 0.0) + math.exp(logprob)
        texts = list(options)
        actions = []
        for chance in np.random.default_rng(seed).random(n):
            index = drawn(logprobs, temperature, float(chance))
            path = made[index]
            steps = tuple(
                0.0 if len(ids) == 1 else min(0.0, math.log(mass[path[: i + 1]] / mass[path[:i]]))
                for i, ids in enumerate(allowed[index])
            )
            actions.append(Action(prompt, path, steps, allowed[index], texts[index], options[texts[index]]))
        return Acts(actions, dict(zip(texts, logprobs, strict=True)))

    def probe(self, policy: Policy, place: Place) -> list[Scored]:
        """See `Space.probe`: the first options of the menu."""
        prompt = policy.encode_chat([{"role": "user", "content": self.prompt(place)}])
        return [(prompt, policy.encode(text)) for text in _answers(menu(place.source, self.edits))[:PROBES]]


def _answers(options: Mapping[str, str]) -> list[str]:
    """The options as they are decoded. The end of the line keeps one from being the beginning of another."""
    return [f"{text}\n" for text in options]


@dataclass(frozen=True)
class Written:
    """An answer in the model's own words, out of which `parse(source, answer)` makes the next program."""

    task: Task
    name: str
    form: str
    """What the model is told about the form of an answer."""
    parse: Callable[[str, str], str]
    max_tokens: int

    def prompt(self, place: Place) -> str:
        """The task, the program, and the form of an answer."""
        return f"{_goal(self.task)}\n\n```python\n{place.source.rstrip()}\n```\n\n{self.form}"

    def act(self, policy: Policy, place: Place, n: int, *, temperature: float, seed: int) -> Acts:
        """See `Space.act`. An answer that was cut at the limit is no action."""
        prompt = policy.encode_chat([{"role": "user", "content": self.prompt(place)}])
        try:
            said = policy.sample([prompt], n, max_tokens=self.max_tokens, temperature=temperature, seed=seed)[0]
        except ValueError as error:
            raise UserError(
                f"action space {self.name}: {error}; take a smaller --max-tokens or another space"
            ) from None
        actions = []
        for c in said:
            program, why = None, ""
            try:
                if not c.finished:
                    raise EditError(f"the answer has no end within {self.max_tokens} tokens")
                program = self.parse(place.source, c.text)
            except EditError as error:
                why = str(error)
            actions.append(Action(c.prompt, c.tokens, c.logprobs, None, c.text, program, why))
        return Acts(actions)

    def probe(self, policy: Policy, place: Place) -> list[Scored]:
        """See `Space.probe`: pieces of the program itself."""
        prompt = policy.encode_chat([{"role": "user", "content": self.prompt(place)}])
        ids = policy.encode(place.source)[: 16 * PROBES]
        return [(prompt, ids[i : i + 16]) for i in range(0, len(ids), 16)]


DIFF_FORM = """Improve the program. Answer with one or more blocks of this form, and nothing else:
<<<<<<< SEARCH
lines that stand in the program exactly once
=======
the lines that take their place
>>>>>>> REPLACE"""
PROGRAM_FORM = "Improve the program. Answer with the whole new program in one block fenced by ```python and ```."
SPACES = ("choice", "diff", "program")


def space(name: str, task: Task, edits: Sequence[Edit], *, max_tokens: int = 1024) -> Space:
    """The action space of that name on a task. Raises UserError."""
    if name == "choice":
        return Choice(task, edits)
    if name == "diff":
        return Written(task, name, DIFF_FORM, search_and_replace, max_tokens)
    if name == "program":
        return Written(task, name, PROGRAM_FORM, whole_program, max_tokens)
    raise UserError(f"no action space {name!r}; there are {', '.join(SPACES)}")


def space_for(parameters: int) -> str:
    """The name of the space for a model of so many parameters."""
    return "choice" if parameters <= LARGEST_OF_CHOICE else "diff" if parameters <= LARGEST_OF_DIFF else "program"


def parameters_of(model: Path) -> int:
    """Parameters of the model in that folder, counted from the headers of its safetensors. Raises UserError."""
    total = 0
    for file in model.glob("*.safetensors"):
        try:
            with file.open("rb") as opened:
                header = json.loads(opened.read(struct.unpack("<Q", opened.read(8))[0]))
        except (OSError, ValueError, struct.error, MemoryError, OverflowError) as error:
            raise UserError(f"{file} can't be read ({error}); fetch the model again") from None
        total += sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    if not total:
        raise UserError(f"{model} holds no safetensors")
    return total


def _goal(task: Task) -> str:
    better = "higher" if task.metric.direction is Direction.UP else "lower"
    return f"Task: {task.title}. A {better} {task.metric.name} is better."
