"""Fixtures of the evaluation (`pytest benchmarks/`) and of the tests: real sandboxes, the real model, no pretence."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.evaluator import Evaluator
from benchmarks.task import Bench, Score
from sandboxes.base import SandboxFactory, UserError


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ratchet", "evaluation of candidates in sandboxes")
    group.addoption("--candidate", metavar="FILE", help="score this program instead of the seed (needs --task)")
    group.addoption("--task", metavar="NAME", help="evaluate only this task")
    group.addoption("--soak", type=int, default=60, metavar="N", help="candidates of the soak test, in each backend")
    group.addoption("--backend", default="auto", help="docker, bubblewrap or auto")


def pytest_configure(config: pytest.Config) -> None:
    from benchmarks.registry import task as find

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A suite that a shell starts in the background ignores Ctrl-C, and so would the programs that it tries it on.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    name, file = config.getoption("--task"), config.getoption("--candidate")
    if file and not name:
        raise pytest.UsageError("--candidate needs --task NAME")
    if file and not Path(file).is_file():
        raise pytest.UsageError(f"no such file: {file}")
    if name:
        try:
            find(name)
        except UserError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    from results.provenance import gpu_name

    wanted = config.getoption("--task")
    if wanted:
        chosen = [item for item in items if getattr(item.function, "task_name", None) == wanted]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
    if gpu_name() == "none":
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device; nvidia-smi finds none"))


@pytest.fixture(scope="session")
def sandboxes(pytestconfig: pytest.Config) -> SandboxFactory:
    from sandboxes.backends import choose_backend

    return choose_backend(pytestconfig.getoption("--backend"))


@pytest.fixture(scope="session")
def backend_with() -> Callable[..., SandboxFactory]:
    """`backend_with("docker", image)`: that backend with that image built; skips with the reason where it isn't here."""
    from sandboxes import images
    from sandboxes.backends import choose_backend

    def choose(name: str, image: str, *, runtime: str | None = None) -> SandboxFactory:
        try:
            made = choose_backend(name, runtime=runtime)
        except UserError as error:
            pytest.skip(str(error))
        images.build(made, image, print)
        return made

    return choose


@pytest.fixture
def bench(sandboxes: SandboxFactory) -> Bench:
    """Sandboxes of the machine's backend, no model, few repeats."""
    return Bench(sandboxes=sandboxes, quick=True)


@pytest.fixture(scope="session")
def evaluator(sandboxes: SandboxFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluator]:
    """An evaluator process with the real language model behind a gate."""
    from agents.models.gate import SocketGate

    gate = SocketGate(tmp_path_factory.mktemp("trace") / "model.jsonl")
    with Evaluator(sandboxes.name, model=gate) as process:
        yield process


@pytest.fixture
def evaluate(
    pytestconfig: pytest.Config, evaluator: Evaluator, sandboxes: SandboxFactory, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Score]:
    """Score a task's seed, or the user's candidate, on the report split; write a record and say where it is.

    `quick=True`: with few repeats, unless the user asked for this task alone.
    """
    from cli.scoring import score_file, shown

    def run(name: str, *, quick: bool = False) -> Score:
        file = pytestconfig.getoption("--candidate")
        with capsys.disabled():
            few = quick and not pytestconfig.getoption("--task")
            score, path = score_file(name, Path(file) if file else None, evaluator, sandboxes, print, quick=few)
            print(f"\n{name}: {shown(name, score)}\n  record: {path}")
        return score

    return run
