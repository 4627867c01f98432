"""`ratchet train`: change a language model's weights by what the sandboxes say of its actions."""

from __future__ import annotations

import json as json_
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from filelock import FileLock, Timeout

from cli.options import BACKEND, JSON, RUNTIME, err
from cli.train_report import live, tell
from results.store import RUNS, write_atomically
from sandboxes.base import UserError

if TYPE_CHECKING:
    from agents.models.policy import Policy
    from training.rounds import Finished, Plan
    from training.trainer import Settings, Trainer

TRAINERS, SAMPLERS = ("torch", "jax"), ("torch", "jax", "vllm")


@dataclass(frozen=True)
class Options:
    """What tells one run from another; `--resume` looks for the last one with the same."""

    task: str
    objective: str
    trainer: str
    sampler: str
    actions: str
    rounds: int
    group: int
    states: int
    seed: int
    temperature: float
    learning_rate: float
    rank: int
    reset_every: int
    max_tokens: int
    dtype: str
    model: str
    full: bool


def train(
    task: Annotated[str, typer.Option(help="A task's name; `ratchet tasks` lists them.")],
    objective: Annotated[str, typer.Option(help="What the trainer makes larger; see training/objectives.py.")] = (
        "mean_baseline"
    ),
    trainer: Annotated[str, typer.Option(help="torch or jax.")] = "torch",
    sampler: Annotated[str, typer.Option(help="Who acts: torch, jax or vllm.")] = "torch",
    actions: Annotated[
        str, typer.Option(help="choice (of moves and values), diff, program, or auto: by the model's size.")
    ] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="Updates of the weights.")] = 8,
    group: Annotated[int, typer.Option(min=2, help="Actions at each program.")] = 8,
    states: Annotated[int, typer.Option(min=1, help="Programs acted on: the seed and the best found so far.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the adapter and of all draws.")] = 0,
    temperature: Annotated[float, typer.Option(help="That logits are divided by.")] = 1.0,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW.")] = 2e-4,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Of the LoRA adapter.")] = 16,
    reset_every: Annotated[
        int, typer.Option(min=0, help="Start the adapter anew after so many rounds, and keep the programs; 0: never.")
    ] = 0,
    max_tokens: Annotated[int, typer.Option(min=16, help="Longest answer in the spaces diff and program.")] = 1024,
    dtype: Annotated[str, typer.Option(help="Of the base model: float32, or bfloat16 (faster, coarser).")] = "float32",
    model: Annotated[
        Path | None, typer.Option(help="Folder of a Llama-like model; SmolLM2-135M-Instruct without.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="With --sampler vllm: a server that runs already.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Score with all repeats, as `ratchet run` does; slower.")
    ] = False,
    out_folder: Annotated[Path, typer.Option("--out", help="Where training runs are kept.")] = RUNS / "train",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run of the same settings.")] = False,
    backend: BACKEND = "auto",
    runtime: RUNTIME = None,
    json: JSON = False,
) -> int:
    """Train a LoRA adapter of a model that proposes changes to a task's program.

    In each round the model acts on a few programs, each program that comes of it is scored in a sandbox on the search
    split, the verdicts become rewards, and the trainer makes one update. The new adapter counts only when the sampler's own
    numbers show that it wears it. Kill it at any moment; the same command with --resume goes on.

    Exits 0 after the last round, 1 when the run had to stop before (its last good adapter is named), 2, 3 as always.

    Example: ratchet train --task denoising --rounds 8 --group 8
    """
    from benchmarks.registry import task as find
    from training.objectives import objective as find_objective

    find(task)
    find_objective(objective)
    _one_of("trainer", trainer, TRAINERS)
    _one_of("sampler", sampler, SAMPLERS)
    _one_of("action space", actions, ("auto", "choice", "diff", "program"))
    _one_of("dtype", dtype, ("float32", "bfloat16"))
    if url is not None and sampler != "vllm":
        raise UserError("--url names a vLLM server: give --sampler vllm with it")
    options = Options(
        task, objective, trainer, sampler, actions, rounds, group, states, seed, temperature, learning_rate, rank, reset_every,
        max_tokens, dtype, str(model.resolve()) if model else "", full,
    )  # fmt: skip
    _plan(options)
    _settings(options, longest=max_tokens)
    folder = (_last(out_folder, options) if resume else None) or _new(out_folder, options)
    try:
        with FileLock(folder / ".lock", timeout=0):
            finished = _run(options, folder, url, backend, runtime)
    except Timeout:
        raise UserError(f"another ratchet is working on {folder}") from None
    except KeyboardInterrupt:
        err.print(f"interrupted; the same command with --resume goes on with {folder}", markup=False, soft_wrap=True)
        raise
    title = f"{task}, {objective}, {trainer} trainer, {sampler} sampler, seed {seed}"
    tell(finished, title, folder, json)
    return 1 if finished.stopped else 0


def _run(options: Options, folder: Path, url: str | None, backend: str, runtime: str | None) -> Finished:
    """Put the pieces together and run them."""
    from agents.models.gate import SocketGate
    from agents.models.smollm2 import model_folder
    from benchmarks.evaluator import Evaluator
    from benchmarks.registry import task as find
    from feedback.moves import edits_for
    from sandboxes.backends import choose_backend
    from sandboxes.images import build
    from training.actions import parameters_of, space, space_for
    from training.checkpoint import Store
    from training.rollouts import SandboxScorer
    from training.rounds import Training

    task = find(options.task)
    with ExitStack() as stack:
        say, show = stack.enter_context(live(options.rounds))
        model = Path(options.model) if options.model else model_folder(say)
        name = space_for(parameters_of(model)) if options.actions == "auto" else options.actions
        edits = edits_for(options.task)
        acts = space(name, task, edits, max_tokens=options.max_tokens)
        factory = choose_backend(backend, runtime=runtime)
        task.fetch(say)
        build(factory, task.image, say)
        say("loading the model")
        trainer = _trainer(options, model, longest=32 if name == "choice" else options.max_tokens)
        policy = stack.enter_context(_policy(options, model, url, say))
        gate = SocketGate(folder / "model.jsonl") if task.uses_model else None
        evaluator = stack.enter_context(Evaluator(factory.name, runtime=runtime, model=gate, progress=say, ahead=2))
        scorer = SandboxScorer(task, evaluator, quick=not options.full)
        store = Store(folder / "state", model)
        return Training(task, acts, _plan(options), trainer, policy, scorer, store, folder, say, show).run()


def _plan(options: Options) -> Plan:
    from training.rounds import Plan

    return Plan(options.rounds, options.group, options.states, options.objective, options.temperature, options.seed,
                options.reset_every)  # fmt: skip


def _settings(options: Options, *, longest: int) -> Settings:
    from training.trainer import Settings

    return Settings(
        rank=options.rank, alpha=2 * options.rank, learning_rate=options.learning_rate, temperature=options.temperature,
        longest_answer=longest, dtype=options.dtype, seed=options.seed,
    )  # fmt: skip


def _trainer(options: Options, model: Path, *, longest: int) -> Trainer:
    settings = _settings(options, longest=longest)
    if options.trainer == "jax":
        from training.jax_trainer import JaxTrainer

        return JaxTrainer(model, settings)
    from training.torch_trainer import TorchTrainer

    return TorchTrainer(model, settings)


@contextmanager
def _policy(options: Options, model: Path, url: str | None, say: Callable[[str], None]) -> Iterator[Policy]:
    made: Policy
    with ExitStack() as stack:
        if options.sampler == "vllm":
            from agents.models.vllm_policy import VllmPolicy
            from agents.models.vllm_server import Settings as Server
            from agents.models.vllm_server import serving

            if url is None:
                server = Server(dtype=options.dtype, max_rank=options.rank)
                url = stack.enter_context(serving(model, server, say)).url
            made = VllmPolicy(url, model, dtype=options.dtype, max_rank=options.rank)
        elif options.sampler == "jax":
            from agents.models.jax_policy import JaxPolicy

            made = JaxPolicy(model)
        else:
            import torch

            from agents.models.torch_local import LocalModel
            from agents.models.torch_policy import TorchPolicy

            device = "cuda" if torch.cuda.is_available() else "cpu"
            made = TorchPolicy(LocalModel(model, device=device, dtype=getattr(torch, options.dtype)))
        stack.callback(made.close)
        yield made


# -- folders -----------------------------------------------------------------------------------------------------------


def _one_of(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise UserError(f"no {what} {given!r}; there are {', '.join(known)}")


def _new(root: Path, options: Options) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    folder = root / f"{stamp}-{options.task}-{options.seed}"
    write_atomically(folder / "train.json", json_.dumps(asdict(options), indent=1).encode())
    return folder


def _last(root: Path, options: Options) -> Path | None:
    """The newest run of the same settings, finished or not."""
    for path in sorted(root.glob("*/train.json"), reverse=True):
        try:
            if json_.loads(path.read_text()) == asdict(options):
                return path.parent
        except (OSError, ValueError):
            continue
    err.print("nothing to resume with these settings; starting a new run", markup=False)
    return None
