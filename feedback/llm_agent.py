"""A language model as feedback agent: any langchain chat model, told the briefing, held to the form of a decision.

Structured output is asked for where the model's API has it; else the first JSON object of the answer is taken. What does not
validate is counted and fed back once, with the reason; after that the generation has no decision, and the loop goes on.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import ValidationError

from agents.edits import EditError, numeric_constants, whole_program
from agents.models.langchain_policy import scrubbed
from agents.models.policy import ServerGone
from agents.trace import Trace
from feedback.agent import Answer, Asked
from feedback.briefing import Briefing, printable
from feedback.budget import Prices, Spent
from feedback.decision import Decision, schema
from feedback.moves import moves_for

TRIES = 2
"""The first answer, and one more after the reason was fed back."""
MAX_ANSWER = 256 * 1024
MAX_BRACES = 64
"""Braces of an answer at which an object may begin."""

ROLE = "You improve a program that is scored in a sandbox. Answer with one JSON object and nothing else."
FORM = """# Your answer
One JSON object. Either a change of the program (up to {width} alternatives, each is tried on its own):
{{"lever": "harness", "reason": "...", "edits": [{{"edit": EDIT}}]}}
where EDIT is one of
{{"kind": "moves", "names": ["NAME OF A MOVE"]}}
{{"kind": "setting", "name": "CONSTANT", "value": 1.5}}
{{"kind": "diff", "text": "<<<<<<< SEARCH\\nlines\\n=======\\nother lines\\n>>>>>>> REPLACE"}}
{{"kind": "program", "source": "the whole program"}}
or, where the levers above have it, training of the task's model:
{{"lever": "weights", "reason": "...", "training": {{"objective": "mean_baseline", "rounds": 2, "group": 8}}}}"""


@dataclass
class LanguageModel:
    """See `FeedbackAgent`. Keys are read from the environment by the provider's package, and never shown."""

    chat: BaseChatModel
    task: str
    """Name of the task, for its library of moves."""
    context: int = 24_000
    """Characters of a prompt; a longer briefing loses the middle of its text."""
    max_tokens: int = 1024
    prices: Prices = field(default_factory=Prices)
    trace: Trace | None = None
    structured: bool = True
    """Ask for structured output first; falls back by itself where the API has none."""
    fits: Callable[[str], bool] = lambda text: True
    """Whether the model takes a conversation of this text; one that it does not take is cut until it does."""
    turn: Callable[[], AbstractContextManager[object]] = nullcontext
    """Entered around each call: where others use the same model, it is set up for the agent here."""
    name: str = "llm"
    _no_schema: bool = field(default=False, repr=False)
    _density: float = field(default=1.0, repr=False)
    """Tokens a byte of prompt, at most."""

    def decide(self, asked: Asked) -> Answer:
        """See `FeedbackAgent.decide`."""
        prompt = cut(asked.briefing.text(asked.levers), self.context) + "\n\n" + FORM.format(width=asked.width)
        messages: list[BaseMessage] = [SystemMessage(ROLE), HumanMessage(prompt)]
        source = asked.briefing.program
        form = schema(asked.levers, list(asked.briefing.moves), list(_constants(source)), asked.width)
        cost, malformed, why = Spent(), 0, ""
        for attempt in range(TRIES):
            short = self._too_dear(messages, asked.briefing.budget - cost)
            if short:
                return Answer(None, cost, malformed, why=short, over=True)
            answer, spent = self._ask(messages, form, (*asked.seed, attempt))
            cost += spent
            try:
                decision = self._checked(parsed(answer), asked)
            except ValueError as error:
                malformed, why = malformed + 1, _short(error)
                messages += [AIMessage(_quoted(answer)), HumanMessage(f"That is no valid answer: {why}. Answer again.")]
                continue
            return Answer(decision, cost, malformed)
        return Answer(None, cost, malformed, why=f"no valid answer: {why}")

    def draft(self, briefing: Briefing, contract: str, seed: Sequence[int]) -> tuple[str | None, Answer]:
        """A first program from the instruction alone: the whole of it, in one fenced block."""
        told = (
            f"# Task: {briefing.task}\n{briefing.instruction}\n\n# Score\n{briefing.metric}\n\n# Contract\n{contract}"
        )
        form = "Write the whole Python program in one block fenced by ```python and ```."
        messages: list[BaseMessage] = [HumanMessage(f"{cut(told, self.context)}\n\n{form}")]
        cost, malformed, why = Spent(), 0, ""
        for attempt in range(TRIES):
            short = self._too_dear(messages, briefing.budget - cost)
            if short:
                return None, Answer(None, cost, malformed, why=short, over=True)
            answer, spent = self._ask(messages, None, (*seed, attempt))
            cost += spent
            try:
                source = whole_program("", answer)
                ast.parse(source)
            except (EditError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
                malformed, why = malformed + 1, _short(error)
                messages += [AIMessage(_quoted(answer)), HumanMessage(f"That is no program: {why}. {form}")]
                continue
            return source, Answer(None, cost, malformed)
        return None, Answer(None, cost, malformed, why=f"no program: {why}")

    def _checked(self, decision: Decision, asked: Asked) -> Decision:
        """A decision that can be carried out. Raises ValueError, with what is wrong for the model to read."""
        if decision.lever not in asked.levers:
            raise ValueError(f"lever {decision.lever.value} is not among {', '.join(asked.levers)}")
        if len(decision.edits) > asked.width:
            raise ValueError(f"{len(decision.edits)} edits, at most {asked.width}")
        known = {m.name for m in moves_for(self.task)}
        for named in decision.edits:
            unknown = [n for n in getattr(named.edit, "names", ()) if n not in known]
            if unknown:
                raise ValueError(f"no move {printable(unknown[0], 60)!r}")
        return decision

    def _too_dear(self, messages: list[BaseMessage], left: Spent) -> str:
        """Why a call must not be made out of what is left, or "". No tokenizer makes more tokens of a text than bytes."""
        self._fit(messages)
        prompt = int(self._density * sum(len(str(m.content).encode()) + 32 for m in messages))
        tokens, money = prompt + self.max_tokens, self.prices.cost(prompt, self.max_tokens)
        for name, wanted, rest in (("tokens", tokens, left.tokens), ("money", money, left.money)):
            if wanted > rest:
                return (
                    f"the budget of {name} is spent: a question may take {wanted:.4g}, and {max(0, rest):.4g} are left"
                )
        return ""

    def _fit(self, messages: list[BaseMessage]) -> None:
        """Cut the longest message until the model takes all of them."""
        while not self.fits("\n".join(str(m.content) for m in messages)):
            at = max(range(len(messages)), key=lambda i: len(str(messages[i].content)))
            text = str(messages[at].content)
            if len(text) < 400:
                return
            messages[at] = messages[at].model_copy(update={"content": cut(text, int(0.8 * len(text)))})

    def _ask(self, messages: list[BaseMessage], form: dict[str, Any] | None, seed: Sequence[int]) -> tuple[str, Spent]:
        """One answer and its cost. Raises ServerGone."""
        try:
            with self.turn():
                raw = self._invoke(messages, form if self.structured and not self._no_schema else None, seed)
        except Exception as error:  # each provider's package has errors of its own
            raise ServerGone(f"the feedback agent's model failed: {scrubbed(error)}") from None
        text = raw.text if isinstance(raw.text, str) else str(raw.content)
        used: Any = raw.usage_metadata or {}
        prompt, made = int(used.get("input_tokens", 0)), int(used.get("output_tokens", 0))
        if not used:  # a provider that does not tell: four characters a token, so that a budget still ends
            prompt, made = sum(len(str(m.content)) for m in messages) // 4, len(text) // 4
        else:  # tokens a byte, with a quarter more, are what the next question is expected to take
            size = sum(len(str(m.content).encode()) + 32 for m in messages)
            self._density = min(1.0, max(0.1, 1.25 * prompt / size))
        cost = Spent(tokens=prompt + made, money=self.prices.cost(prompt, made))
        if self.trace is not None:
            self.trace.write(
                "feedback", messages=[str(m.content) for m in messages], answer=text, tokens=[prompt, made]
            )
        return text[:MAX_ANSWER], cost

    def _invoke(self, messages: list[BaseMessage], form: dict[str, Any] | None, seed: Sequence[int]) -> AIMessage:
        how: dict[str, Any] = {"max_tokens": self.max_tokens}
        if "seed" in type(self.chat).model_fields:  # not every provider's model can be told one
            how["seed"] = int(np.random.SeedSequence(list(seed)).generate_state(1)[0] >> 1)
        held = dict(how)
        if form is not None:
            # OpenAI's form of structured output, which vLLM and most servers understand.
            held["response_format"] = {"type": "json_schema", "json_schema": {"name": "decision", "schema": form}}
        try:
            answer = self.chat.bind(**held).invoke(messages)
        except Exception:
            if form is None:
                raise
            self._no_schema = True
            answer = self.chat.bind(**how).invoke(messages)
        if not isinstance(answer, AIMessage):
            raise TypeError(f"a chat model answers with a message, not {type(answer).__name__}")
        return answer


def parsed(answer: str) -> Decision:
    """The decision in a model's answer: its first JSON object with a lever, whatever stands around it. Raises ValueError."""
    value = _object(answer)
    if isinstance(value.get("edit"), dict) and "edits" not in value:  # one edit without the list around it
        value["edits"] = [{"edit": value.pop("edit")}]
    try:
        return Decision.model_validate(value)
    except OverflowError:  # a whole number that no float holds
        raise ValueError("a number is too large") from None


def _object(answer: str) -> dict[str, Any]:
    """The first JSON object that names a lever, else why there is none (ValueError). Braces in prose are passed over."""
    start, why = -1, "there is no JSON object in it"
    for _ in range(MAX_BRACES):
        start = answer.find("{", start + 1)
        if start < 0:
            break
        try:
            value, _ = json.JSONDecoder().raw_decode(answer, start)
        except (ValueError, RecursionError) as error:
            why = why if why.startswith("its") else f"its JSON can't be read: {error}"
            continue
        if "lever" in value:
            found: dict[str, Any] = value
            return found
        why = "its JSON object names no lever"
    raise ValueError(why)


def _quoted(answer: str) -> str:
    """What was answered, for the model to read again. Some providers take no empty message."""
    return answer[:2000] or "(nothing)"


def _constants(source: str) -> dict[str, int | float]:
    try:
        return numeric_constants(source)
    except EditError:
        return {}


def cut(text: str, most: int) -> str:
    """At most so many characters: the beginning and the end, which hold the task and the form, and a mark between."""
    if len(text) <= most:
        return text
    half = (most - 40) // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return printable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 200)
    return printable(re.sub(r"\s+", " ", str(error)), 200)
