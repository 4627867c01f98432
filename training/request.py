"""The weights lever of a feedback loop: some rounds of training from a program and an adapter, within a budget.

    wanted = TrainingRequest(rounds=4, candidates=64, seconds=600)
    made = fulfil(wanted, task=task, evaluator=evaluator, start=Place(source), edits=edits, folder=folder, model=model)
    made.adapter                              # hash of the adapter kept, for `Candidate.weights`; None is the base model

Killed at any moment, the same call on the same folder goes on where it was left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from agents.models.policy import Policy
from benchmarks.evaluator import Evaluator
from benchmarks.task import Candidate, Task
from results.store import write_atomically
from sandboxes.base import UserError
from training.actions import Edit, Place, parameters_of, space, space_for
from training.checkpoint import Store
from training.history import Round
from training.objectives import DEFAULT
from training.rollouts import SandboxScorer
from training.rounds import Budget, Plan, Say, Training
from training.trainer import Settings

MAX_TOKENS = 1024
"""Of a written answer; `LONGEST_CHOICE` of an option."""
LONGEST_CHOICE = 32


@dataclass(frozen=True)
class TrainingRequest:
    """How to train and how much it may cost. `fulfil` raises UserError for what can't work."""

    objective: str = DEFAULT
    rounds: int = 4
    group: int = 8
    """Actions at each program in each round."""
    places: int = 2
    """Programs acted on in each round: the first one, and the best found so far."""
    learning_rate: float = 1e-3
    rank: int = 16
    """Of the adapter; one that is gone on from must have it."""
    seconds: float = 600.0
    """See `training.rounds.Budget`; loading the model, a few seconds, is not in it."""
    candidates: int = 64
    """Programs scored in sandboxes, the ones acted on included."""
    seed: int = 0
    temperature: float | None = None
    """None: 2 for a choice among options, 1 for answers in words. At 1 a small model hardly ever draws most options, and commits
    itself to a poor one before it has seen a good one (measured, `training/README.md`)."""
    dtype: str = "float32"
    """Of the base model: float32 or bfloat16."""
    quick: bool = True
    """Score with few repeats, as `ratchet train` does."""


@dataclass(frozen=True)
class Fulfilled:
    """What came of a request, over all sittings."""

    adapter: str | None
    """Hash of the adapter kept: the last one, or, of a run that was stopped, the one that acted in its best round. None: the
    base model."""
    path: Path | None
    """Its folder in the store."""
    best: Place
    """The best program found, or the one it began with."""
    best_gain: float
    """Its reward over the first program, added up along its way from single scorings: optimistic, so score it again."""
    rounds: tuple[Round, ...]
    seconds: float
    """Of the rounds."""
    candidates: int
    """Programs scored in sandboxes."""
    stopped: str
    """Why it ended before its last round (collapse, format decay, a loss that is not finite); "" when it did not."""
    exhausted: str
    """What of the budget did not suffice for all rounds: seconds, candidates, or "" for neither."""


def _quiet(message: str) -> None:
    return None


def fulfil(
    request: TrainingRequest,
    *,
    task: Task,
    evaluator: Evaluator,
    start: Place,
    edits: Sequence[Edit],
    folder: Path,
    model: Path,
    policy: Policy | None = None,
    adapter: str | None = None,
    say: Say = _quiet,
    tell: Callable[[Round], None] = lambda line: None,
) -> Fulfilled:
    """Train from `adapter` (its hash; None is the base model) by what the evaluator says of actions on `start` and its offspring.

    `edits` are the named moves that a small model chooses among. `model` is the folder of the base model. `policy` samples
    with it; without one a torch sampler is loaded for the time. A given policy wears afterwards what it wore before.
    `evaluator` must be open. A budget too small for one round gives no round and the adapter that was given.

    Raises UserError when `folder` holds another request, an adapter that does not fit the model or the rank, or an action
    space without an option; SyncError, ServerGone and SandboxError as `Training.run` does: then call it again.
    """
    _claim(folder, request, start, adapter, task)
    name = space_for(parameters_of(model))
    longest = LONGEST_CHOICE if name == "choice" else MAX_TOKENS
    usual = 2.0 if name == "choice" else 1.0
    temperature = usual if request.temperature is None else request.temperature
    settings = Settings(
        rank=request.rank, alpha=2 * request.rank, learning_rate=request.learning_rate, temperature=temperature,
        longest_answer=longest, dtype=request.dtype, seed=request.seed,
    )  # fmt: skip
    plan = Plan(request.rounds, request.group, request.places, request.objective, temperature, request.seed)
    from training.torch_trainer import TorchTrainer

    say("loading the model")
    trainer, store = TorchTrainer(model, settings), Store(folder / "state", model)
    with _sampler(policy, model, request.dtype) as sampler:
        done = Training(
            task, space(name, task, edits, max_tokens=MAX_TOKENS), plan, trainer, sampler,
            SandboxScorer(task, evaluator, quick=request.quick), store, folder, say, tell, start=start, adapter=adapter,
            budget=Budget(request.seconds, request.candidates),
        ).run()  # fmt: skip
    return Fulfilled(
        adapter=done.adapter, path=store.adapters / done.adapter if done.adapter else None, best=done.best,
        best_gain=done.best_gain, rounds=tuple(done.rounds), seconds=done.spent.seconds,
        candidates=int(done.spent.candidates), stopped=done.stopped, exhausted=done.exhausted,
    )  # fmt: skip


def _claim(folder: Path, request: TrainingRequest, start: Place, adapter: str | None, task: Task) -> None:
    """Write down what is asked of a new folder; refuse one of which something else was asked."""
    told = {"task": task.name, "start": Candidate(source=start.source).sha, "adapter": adapter, **asdict(request)}
    file = folder / "request.json"
    if not file.exists():
        write_atomically(file, json.dumps(told, indent=1).encode())
    elif json.loads(file.read_text()) != told:
        raise UserError(f"{folder} holds training with another request, program or adapter: give another folder")


@contextmanager
def _sampler(given: Policy | None, model: Path, dtype: str) -> Iterator[Policy]:
    """A policy that wears no adapter yet."""
    if given is not None:
        wore = given.adapter
        given.load_adapter(None)
        try:
            yield given
        finally:
            given.load_adapter(wore)
        return
    import torch

    from agents.models.torch_local import LocalModel
    from agents.models.torch_policy import TorchPolicy

    device = "cuda" if torch.cuda.is_available() else "cpu"
    made = TorchPolicy(LocalModel(model, device=device, dtype=getattr(torch, dtype)))
    try:
        yield made
    finally:
        made.close()
