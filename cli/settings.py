"""What a run was asked to do, as it stands in its `run.json`, and the parts that the loop is made of for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from cli.options import err
from feedback.budget import Budget, Prices
from feedback.levers import lever_policy
from feedback.loop import Finished, Loop, Plan
from results.store import write_atomically
from sandboxes.base import UserError

if TYPE_CHECKING:
    from agents.models.gate import SocketGate
    from benchmarks.task import Task
    from feedback.agent import FeedbackAgent
    from feedback.weights import WeightsLever

AGENTS = ("search", "llm")


@dataclass(frozen=True)
class Settings:
    """All that tells one run from another. Raises UserError for what can't work, before anything is started."""

    preset: str
    tasks: tuple[str, ...]
    generations: int
    width: int
    quick: bool
    agent: str = "search"
    levers: str = "harness"
    model: str = "local"
    """Of the agent: `local` is SmolLM2 in this process, else langchain's `provider:model`."""
    url: str | None = None
    context: int = 24_000
    """Characters of a prompt."""
    candidates: int | None = None
    """The four budgets are per task."""
    seconds: float | None = None
    tokens: int | None = None
    money: float | None = None
    prices: tuple[float, float] = (0.0, 0.0)
    watch: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.agent not in AGENTS:
            raise UserError(f"no agent {self.agent!r}; there are {', '.join(AGENTS)}")
        lever_policy(self.levers)
        self.plan()
        if self.money is not None and not any(self.prices):
            raise UserError("a budget of money needs prices: --price PROMPT,ANSWER for a million tokens")

    def plan(self) -> Plan:
        """The loop's part of it."""
        budget = Budget(self.candidates, self.seconds, self.tokens, self.money)
        return Plan(self.generations, self.width, self.quick, budget, self.watch, self.seed)

    def written(self) -> dict[str, Any]:
        """As JSON holds it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Of an earlier run. Raises UserError when the folder holds none, or one of another version."""
        try:
            told = json.loads((folder / "run.json").read_text())
            return cls(**{**told, "tasks": tuple(told["tasks"]), "prices": tuple(told["prices"])})
        except (OSError, ValueError, TypeError, KeyError):
            raise UserError(f"{folder} holds no run of this version of ratchet") from None


def new_folder(root: Path, settings: Settings) -> Path:
    """A folder for a new run."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    folder = root / f"{stamp}-{settings.preset}"
    write_atomically(folder / "run.json", json.dumps(settings.written(), indent=1).encode())
    return folder


def last_run(root: Path, settings: Settings | None = None) -> Path | None:
    """The newest run, finished or not, of these settings or of any."""
    for path in sorted(root.glob("*/run.json"), reverse=True):
        try:
            if settings is None or json.loads(path.read_text()) == settings.written():
                return path.parent
        except (OSError, ValueError):
            continue
    return None


def carry_out(settings: Settings, folder: Path, backend: str, runtime: str | None) -> list[Finished]:
    """Do what is left of a run. Raises UserError when another process is at it."""
    try:
        with FileLock(folder / ".lock", timeout=0):
            return _tasks(settings, folder, backend, runtime)
    except Timeout:
        raise UserError(f"another ratchet is working on {folder}") from None
    except KeyboardInterrupt:
        err.print(f"interrupted; `ratchet resume {folder.name}`, or the same command with --resume, goes on",
                  markup=False, soft_wrap=True)  # fmt: skip
        raise


def _tasks(settings: Settings, folder: Path, backend: str, runtime: str | None) -> list[Finished]:
    from agents.models.gate import SocketGate
    from agents.models.scripted import ScriptedGate
    from agents.models.smollm2 import model_folder
    from benchmarks.evaluator import Evaluator
    from benchmarks.registry import task as find
    from feedback.archive import Archive
    from feedback.weights import WeightsLever
    from sandboxes.backends import choose_backend
    from sandboxes.images import build

    finished = []
    factory = choose_backend(backend, runtime=runtime)
    policy = lever_policy(settings.levers)
    with ExitStack() as stack:
        archive = Archive(folder)
        stack.callback(archive.close)
        say, status = stack.enter_context(live())
        gate = SocketGate(folder / "trace" / "model.jsonl")
        evaluator = stack.enter_context(Evaluator(
            factory.name, runtime=runtime, model=gate, scripted=ScriptedGate(), progress=status, ahead=2,
        ))  # fmt: skip
        for name in settings.tasks:
            task = find(name)
            task.fetch(status)
            build(factory, task.image, status)
            weights = WeightsLever(task, evaluator, partial(model_folder, status), quick=True)
            agent = agent_of(settings, task, weights, gate, folder)
            voice = partial(say, name)
            loop = Loop(task, settings.plan(), agent, archive, evaluator, voice, levers=policy, weights=weights)
            try:
                finished.append(loop.run())
            finally:
                weights.close()
            voice(f"done: {loop.books.spent().said()}")
    return finished


def agent_of(settings: Settings, task: Task, weights: WeightsLever, gate: SocketGate, folder: Path) -> FeedbackAgent:
    """The feedback agent of a run for one task. Raises UserError when its model can't be had."""
    from agents.trace import Trace
    from feedback.llm_agent import LanguageModel
    from feedback.search_agent import Search

    if settings.agent == "search":
        return Search(task, guide=weights.guide)
    how: dict[str, Any] = {}
    if settings.model == "local":
        from agents.models.chat import SmolChatModel
        from agents.models.torch_local import MAX_PROMPT_TOKENS

        model = gate.model()
        chat: Any = SmolChatModel(model, temperature=0.7, seed=settings.seed)
        # Candidates ask the same model, and may leave an adapter on it.
        how = {
            "fits": lambda text: len(model.encode(text)) < MAX_PROMPT_TOKENS - 64,
            "turn": lambda: model.wearing(None),
        }
    else:
        from agents.models.langchain_policy import chat_model

        chat = chat_model(settings.model, url=settings.url)
    trace = Trace(folder / "trace" / "agent.jsonl")
    return LanguageModel(
        chat, task.name, context=settings.context, max_tokens=max(256, min(2048, settings.context // 10)), prices=Prices(*settings.prices), trace=trace,
        structured=settings.model != "local", **how,
    )  # fmt: skip


@contextmanager
def live() -> Iterator[tuple[Callable[[str, str], None], Callable[[str], None]]]:
    """Lines as they happen, and below them a spinner with what is being done; plain lines where there is no terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.text import Text

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        row = progress.add_task("starting")

        def say(name: str, message: str) -> None:
            # What a sandbox or a model said may be in it: it is text, never markup.
            shown = "".join(c if c.isprintable() else "?" for c in message)
            line = Text.assemble((datetime.now().strftime("%H:%M:%S"), "dim"), " ", (name, "bold"), " ", shown)
            line.highlight_regex(r" kept$", "green")
            line.highlight_regex(r"(drift|no further generation):", "yellow")
            progress.console.print(line, soft_wrap=True)

        yield say, lambda message: progress.update(row, description=message)
