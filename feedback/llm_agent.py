"""A language model as feedback agent: any langchain chat model, told the briefing, held to the form of a decision.

Structured output is asked for where the model's API has it; else the first JSON object of the answer is taken. What does not
validate is counted and fed back once, with the reason; after that the generation has no decision, and the loop goes on.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
    name: str = "llm"
    _no_schema: bool = field(default=False, repr=False)

    def decide(self, asked: Asked) -> Answer:
        """See `FeedbackAgent.decide`."""
        prompt = cut(asked.briefing.text(asked.levers), self.context) + "\n\n" + FORM.format(width=asked.width)
        messages: list[BaseMessage] = [SystemMessage(ROLE), HumanMessage(prompt)]
        source = asked.briefing.program
        form = schema(asked.levers, list(asked.briefing.moves), list(_constants(source)), asked.width)
        cost, malformed, why = Spent(), 0, ""
        for _ in range(TRIES):
            answer, spent = self._ask(messages, form)
            cost += spent
            try:
                decision = self._checked(parsed(answer), asked)
            except ValueError as error:
                malformed, why = malformed + 1, _short(error)
                messages += [AIMessage(answer[:2000]), HumanMessage(f"That is no valid answer: {why}. Answer again.")]
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
        for _ in range(TRIES):
            answer, spent = self._ask(messages, None)
            cost += spent
            try:
                source = whole_program("", answer)
                ast.parse(source)
            except (EditError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
                malformed, why = malformed + 1, _short(error)
                messages += [AIMessage(answer[:2000]), HumanMessage(f"That is no program: {why}. {form}")]
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

    def _ask(self, messages: list[BaseMessage], form: dict[str, Any] | None) -> tuple[str, Spent]:
        """One answer and its cost. Raises ServerGone."""
        try:
            raw = self._invoke(messages, form if self.structured and not self._no_schema else None)
        except Exception as error:  # each provider's package has errors of its own
            raise ServerGone(f"the feedback agent's model failed: {scrubbed(error)}") from None
        text = raw.text if isinstance(raw.text, str) else str(raw.content)
        used: Any = raw.usage_metadata or {}
        prompt, made = int(used.get("input_tokens", 0)), int(used.get("output_tokens", 0))
        if not used:  # a provider that does not tell: four characters a token, so that a budget still ends
            prompt, made = sum(len(str(m.content)) for m in messages) // 4, len(text) // 4
        cost = Spent(tokens=prompt + made, money=self.prices.cost(prompt, made))
        if self.trace is not None:
            self.trace.write(
                "feedback", messages=[str(m.content) for m in messages], answer=text, tokens=[prompt, made]
            )
        return text[:MAX_ANSWER], cost

    def _invoke(self, messages: list[BaseMessage], form: dict[str, Any] | None) -> AIMessage:
        how: dict[str, Any] = {"max_tokens": self.max_tokens}
        if form is not None:
            # OpenAI's form of structured output, which vLLM and most servers understand.
            how["response_format"] = {"type": "json_schema", "json_schema": {"name": "decision", "schema": form}}
        try:
            answer = self.chat.bind(**how).invoke(messages)
        except Exception:
            if form is None:
                raise
            self._no_schema = True
            answer = self.chat.bind(max_tokens=self.max_tokens).invoke(messages)
        if not isinstance(answer, AIMessage):
            raise TypeError(f"a chat model answers with a message, not {type(answer).__name__}")
        return answer


def parsed(answer: str) -> Decision:
    """The decision in a model's answer: its first JSON object, whatever stands around it. Raises ValueError."""
    start = answer.find("{")
    if start < 0:
        raise ValueError("there is no JSON object in it")
    try:
        value, _ = json.JSONDecoder().raw_decode(answer[start:])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its JSON can't be read: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("its JSON is no object")
    if isinstance(value.get("edit"), dict) and "edits" not in value:  # one edit without the list around it
        value["edits"] = [{"edit": value.pop("edit")}]
    return Decision.model_validate(value)


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
