"""A run's archive with a scored seed, and a chat model that says what it is given to say and remembers what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatResult

from benchmarks.registry import task
from benchmarks.task import Score, Verdict
from feedback.agent import Asked
from feedback.archive import Archive, Generation, Try
from feedback.briefing import brief
from feedback.budget import Spent
from feedback.decision import Lever
from feedback.proposing import new_row

DENOISING = task("denoising")
NO_BOUND = Spent(*[float("inf")] * 4)  # type: ignore[arg-type]


class Told(FakeMessagesListChatModel):
    """langchain's own model of scripted answers; an answer that is an exception is raised."""

    script: list[Any]
    usage: bool = True
    reads: int = 100
    seen: list[list[str]]
    how: list[dict[str, Any]]
    responses: list[BaseMessage]

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.seen.append([str(m.content) for m in messages])
        self.how.append(kwargs)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        usage = (
            UsageMetadata(input_tokens=self.reads, output_tokens=10, total_tokens=self.reads + 10)
            if self.usage
            else None
        )
        self.responses, self.i = [AIMessage(answer, usage_metadata=usage)], 0
        return super()._generate(messages, stop, run_manager, **kwargs)


def told(*script: Any, usage: bool = True, reads: int = 100) -> Told:
    """A model that gives these answers, one after another, and says that each question had `reads` tokens."""
    return Told(script=list(script), usage=usage, reads=reads, seen=[], how=[], responses=[])


def scored(value: float | None, **more: Any) -> dict[str, Any]:
    """A score as the archive holds it."""
    verdict = Verdict.OK if value is not None else Verdict.CRASH
    interval = None if value is None else (value, value)
    return Score(verdict=verdict, value=value, interval=interval, **more).model_dump(mode="json")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """A run of denoising whose seed has scored 3.4."""
    made = Archive(tmp_path / "run")
    seed = DENOISING.seed()
    row = new_row(DENOISING, seed, 0, 0, None, "seed", ())
    row.stage, row.score = "ready", scored(3.4, seconds=1.0)
    made.propose([(row, seed)])
    made.save(Generation(task="denoising", number=0, lever="seed", why="", evidence={}, best=1, gain=0.0, cost={}))
    yield made
    made.close()


def asking(
    archive: Archive, *, levers: tuple[Lever, ...] = (Lever.HARNESS,), width: int = 2, left: Spent = NO_BOUND,
    best: Try | None = None, number: int = 1, adapter: str | None = None,
) -> Asked:  # fmt: skip
    """What the loop would ask of an agent now."""
    best = best or archive.tries("denoising")[0]
    told = brief(DENOISING, archive, best, left=left, weights={}, trace=archive.folder / "trace" / "model.jsonl")
    return Asked(told, levers, width, (0, number), best, adapter, archive)
