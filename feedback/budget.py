"""What a run may spend, and what it has spent: tokens, seconds, candidates, money. Every run ends within them.

A budget is asked before work begins, with what the work is expected to cost, so that a run stops before the line and
not behind it. What is counted is counted in one place, the archive, and survives a kill.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sandboxes.base import UserError


@dataclass(frozen=True)
class Spent:
    """What something cost."""

    candidates: int = 0
    """Programs that were scored in sandboxes, repeats included."""
    seconds: float = 0.0
    tokens: int = 0
    """Of the feedback agent's model, prompts and answers together."""
    money: float = 0.0
    """In the currency of the prices that were given; 0 without prices."""

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    def said(self) -> str:
        """One line for a reader."""
        units = {"candidates": f"{self.candidates} candidates", "seconds": f"{self.seconds:.0f} s",
                 "tokens": f"{self.tokens} tokens", "money": f"{self.money:.4g} of money"}  # fmt: skip
        said = [text for name, text in units.items() if 0 < getattr(self, name) < float("inf")]
        return ", ".join(said) or "no bound"


@dataclass(frozen=True)
class Budget:
    """Upper bounds of `Spent`; None: no bound. Raises UserError for a bound that is not positive."""

    candidates: int | None = None
    seconds: float | None = None
    tokens: int | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"a budget of {value} {field.name} is none: give a positive number, or leave it out")

    def left(self, spent: Spent) -> Spent:
        """What remains of each; infinity where there is no bound."""
        rest: dict[str, Any] = {}
        for field in fields(self):
            bound = getattr(self, field.name)
            rest[field.name] = float("inf") if bound is None else max(0, bound - getattr(spent, field.name))
        return Spent(**rest)

    def exhausted(self, spent: Spent, wanted: Spent) -> str:
        """Why work that will cost about `wanted` must not begin, or "" when it may."""
        for field in fields(self):
            bound, after = getattr(self, field.name), getattr(spent, field.name) + getattr(wanted, field.name)
            if bound is not None and after > bound:
                return f"the budget of {bound:g} {field.name} is spent ({getattr(spent, field.name):.4g} so far)"
        return ""


@dataclass(frozen=True)
class Prices:
    """What a provider asks for a million tokens."""

    prompt: float = 0.0
    answer: float = 0.0

    def cost(self, prompt: int, answer: int) -> float:
        """Money for so many tokens."""
        return (prompt * self.prompt + answer * self.answer) / 1e6
