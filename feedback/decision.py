"""What a feedback agent may answer: one typed decision, checked before anything is done with it.

A decision names one lever. With the harness it holds edits, each of them one try; with the weights, a training request. It
is data from an agent that may be a language model: bounded, parsed, and never executed outside a sandbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.edits import EditError, search_and_replace, set_constant
from training.objectives import OBJECTIVES

MAX_EDITS = 8
MAX_SOURCE = 256 * 1024
"""Characters of a program, and of an edit."""


class Lever(StrEnum):
    """What a generation changes."""

    HARNESS = "harness"
    WEIGHTS = "weights"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Moves(_Part):
    """Named moves of the task's library, one after another."""

    kind: Literal["moves"] = "moves"
    names: tuple[str, ...] = Field(min_length=1, max_length=16)


class Setting(_Part):
    """Another value for one numeric constant on the top level."""

    kind: Literal["setting"] = "setting"
    name: str = Field(max_length=100)
    value: int | float = Field(allow_inf_nan=False, ge=-1e15, le=1e15)


class Diff(_Part):
    """Search-and-replace blocks, see `agents.edits.search_and_replace`."""

    kind: Literal["diff"] = "diff"
    text: str = Field(max_length=MAX_SOURCE)


class Program(_Part):
    """The whole new program."""

    kind: Literal["program"] = "program"
    source: str = Field(max_length=MAX_SOURCE)


Edit = Annotated[Moves | Setting | Diff | Program, Field(discriminator="kind")]


class HarnessEdit(_Part):
    """One try: an edit of one member of the archive."""

    edit: Edit
    parent: str | None = Field(default=None, max_length=64)
    """Hash (or its beginning) of the program that is edited; None is the best so far."""


class TrainingWish(_Part):
    """How to train. The loop cuts it to what is left of the budget."""

    objective: str = "mean_baseline"
    rounds: int = Field(default=2, ge=1, le=64)
    group: int = Field(default=8, ge=2, le=64)
    """Actions at each program in each round."""
    learning_rate: float = Field(default=1e-3, gt=0, le=0.1)
    rank: int = Field(default=8, ge=1, le=256)

    @model_validator(mode="after")
    def _known(self) -> TrainingWish:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"no objective {self.objective!r}; there are {', '.join(sorted(OBJECTIVES))}")
        return self


class Decision(_Part):
    """A lever, why, and what to do with it."""

    lever: Lever
    reason: str = Field(max_length=1000)
    edits: tuple[HarnessEdit, ...] = Field(default=(), max_length=MAX_EDITS)
    training: TrainingWish | None = None

    @model_validator(mode="after")
    def _one_lever(self) -> Decision:
        if self.lever is Lever.HARNESS and (not self.edits or self.training is not None):
            raise ValueError("the harness lever takes edits, at least one, and no training")
        if self.lever is Lever.WEIGHTS and (self.training is None or self.edits):
            raise ValueError("the weights lever takes training, and no edits")
        return self


def schema(levers: Sequence[Lever], moves: Sequence[str], constants: Sequence[str], width: int) -> dict[str, Any]:
    """The JSON schema of the decisions that can be carried out now, for servers that hold a model to one.

    Narrower than `Decision`: moves and constants are listed by name, and each lever has its own branch.
    """

    def an(kind: str, **fields: Any) -> dict[str, Any]:
        told = {"kind": {"const": kind}, **fields}
        return {"type": "object", "properties": told, "required": list(told), "additionalProperties": False}

    text = {"type": "string", "maxLength": 2000}
    edits = [an("diff", text=text), an("program", source=text)]
    if constants:
        edits.insert(0, an("setting", name={"enum": list(constants)}, value={"type": "number"}))
    if moves:
        names = {"type": "array", "items": {"enum": list(moves)}, "minItems": 1, "maxItems": 3}
        edits.insert(0, an("moves", names=names))
    edit = {
        "type": "object",
        "properties": {"edit": {"anyOf": edits}},
        "required": ["edit"],
        "additionalProperties": False,
    }
    branches: dict[Lever, tuple[str, dict[str, Any]]] = {
        Lever.HARNESS: ("edits", {"type": "array", "items": edit, "minItems": 1, "maxItems": min(width, MAX_EDITS)}),
        Lever.WEIGHTS: ("training", {
            "type": "object", "additionalProperties": False, "required": ["objective", "rounds", "group"],
            "properties": {"objective": {"enum": sorted(OBJECTIVES)}, "rounds": {"type": "integer", "minimum": 1, "maximum": 8},
                           "group": {"type": "integer", "minimum": 2, "maximum": 16}},
        }),
    }  # fmt: skip
    made = []
    for lever in levers:
        name, body = branches[lever]
        fields = {"lever": {"const": lever.value}, "reason": {"type": "string", "maxLength": 200}, name: body}
        made.append({"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False})
    return made[0] if len(made) == 1 else {"anyOf": made}


def applied(edit: Edit, source: str, library: dict[str, object]) -> str:
    """The program that an edit makes of `source`. `library` holds the task's moves by name.

    Raises EditError: an unknown move, a place that is not there, or nothing changed. Of several moves those that don't fit
    are passed over, as long as one does.
    """
    match edit:
        case Moves(names=names):
            made = source
            unknown = [n for n in names if n not in library]
            if unknown:
                raise EditError(f"no move {unknown[0]!r}")
            for name in names:
                try:
                    made = library[name].edit(made)  # type: ignore[attr-defined]
                except EditError:
                    continue
        case Setting(name=name, value=value):
            made = set_constant(source, name, value)
        case Diff(text=text):
            made = search_and_replace(source, text)
        case Program(source=text):
            made = text if text.endswith("\n") else text + "\n"
    if made == source:
        raise EditError("the edit changes nothing")
    return made


def named(edit: Edit) -> tuple[str, ...]:
    """How a try is called in tables."""
    match edit:
        case Moves(names=names):
            return names
        case Setting(name=name, value=value):
            return (f"{name} = {value!r}",)
        case Diff():
            return ("diff",)
        case Program():
            return ("program",)
