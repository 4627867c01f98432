"""The whole evaluation on one GPU: `pytest benchmarks/kernels -m gpu` [`--benchmark-json FILE`].

Each kernel's plain program, its baselines and its Triton seed race in one run on the GPU's shapes; the leaderboard's table is
printed at the end. Cheats that need a device, and the device after a candidate that broke it, are tested here too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from rich.console import Console
from rich.table import Table

from benchmarks.kernels.plan import QUICK, Plan
from benchmarks.kernels.rounds import Run
from benchmarks.kernels.task import KernelTask, score_of
from benchmarks.kernels.trimul.inputs import TriMulShape
from benchmarks.registry import task as find
from benchmarks.task import Bench, Candidate, Score, Split, Verdict
from sandboxes import images
from sandboxes.base import SandboxFactory

HERE = Path(__file__).parent
TASKS = sorted(path.parent.name for path in HERE.glob("*/score.py"))
CHEATS = {path.stem: path for path in sorted((HERE / "cheats" / "cuda").glob("*.py"))}
PLAN = Plan(least=6, most=24, seconds=15.0, life=2)
"""Ten tasks, five programs each: about half a minute a task, most of it loading and compiling."""
EXPECTED = {
    "changed_input": {Verdict.INVALID},
    "device_assert": {Verdict.CRASH},
    "endless_kernel": {Verdict.REWARD_HACK},
    "graph_replay": {Verdict.WRONG, Verdict.CRASH},
    "hung_device": {Verdict.TIMEOUT},
    "out_of_bounds": {Verdict.CRASH},
    "patched_event": {Verdict.REWARD_HACK},
    "side_stream": {Verdict.REWARD_HACK, Verdict.WRONG},
}
"""The verdicts of cheats that fail otherwise than by a wrong answer."""

pytestmark = [pytest.mark.gpu, pytest.mark.sandbox]


def on_gpu(name: str) -> KernelTask[TriMulShape]:
    found = find(name)
    assert isinstance(found, KernelTask)
    return found.on("cuda")


@pytest.fixture(scope="module", autouse=True)
def built(sandboxes: SandboxFactory) -> None:
    """The image, which nothing else builds; `ratchet images build kernels-cuda --host` takes this machine's own torch instead."""
    images.build(sandboxes, "kernels-cuda", print)


@pytest.fixture(scope="module")
def board(pytestconfig: pytest.Config) -> Iterator[list[tuple[str, str, Score]]]:
    """Rows of task, program and score; printed as a table when all tests have run."""
    rows: list[tuple[str, str, Score]] = []
    yield rows
    table = Table("task", "program", "verdict", "x over plain", "95 %", "time µs", "floor µs", "lives", title="kernels")
    for task, name, score in sorted(rows, key=lambda row: (row[0], -(row[2].value or 0.0))):
        seen = score.secondary
        table.add_row(
            task, name, score.verdict.value,
            f"{score.value:.3f}" if score.value else score.reason[:60],
            "{:.3f} to {:.3f}".format(*score.interval) if score.interval else "",
            f"{seen['time_us']:.1f}" if seen else "", f"{seen['floor_us']:.1f}" if seen else "", str(len({key.rsplit("/", 1)[1] for key in score.units})),
        )  # fmt: skip
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")
    with manager.global_and_fixture_disabled():
        Console(width=140).print(table)


def race(
    task: KernelTask[TriMulShape], candidates: list[Candidate], sandboxes: SandboxFactory, plan: Plan
) -> list[Score]:
    """Scores of candidates in one run on the GPU."""
    bench = Bench(sandboxes)
    run = Run(task.problem, Split.REPORT, plan, 20_261_123, task.target)
    return [score_of(entrant, run, bench) for entrant in run.run(candidates, bench, task.image, task.limits)]


@pytest.mark.parametrize("name", TASKS)
def test_baselines_are_scored(
    name: str, benchmark: BenchmarkFixture, sandboxes: SandboxFactory, board: list[tuple[str, str, Score]]
) -> None:
    task = on_gpu(name)
    candidates = [task.seed(), *(task.baseline(p.stem) for p in sorted((task.folder / "baselines").glob("*.py")))]
    scores = benchmark.pedantic(race, (task, candidates, sandboxes, PLAN), rounds=1)  # type: ignore[no-untyped-call]
    for candidate, score in zip(candidates, scores, strict=True):
        board.append((name, candidate.name, score))
        benchmark.extra_info[candidate.name] = score.model_dump(mode="json")
    assert scores[0].ok, scores[0].reason
    # The plain program against itself is 1 but for chance, and no block of it ran on a throttled device unseen.
    assert scores[0].value is not None and math.isclose(scores[0].value, 1.0, rel_tol=0.1)
    assert any(key.endswith("/throttled.after") for key in scores[0].raw)


@pytest.fixture(scope="module")
def verdicts(sandboxes: SandboxFactory) -> dict[str, Score]:
    """Scores of the cheats, and of an honest program that runs beside and after them."""
    task = on_gpu("trimul")
    honest = task.seed().source.replace("def kernel(", "def honest(")
    cheats = [Candidate(source=f"{honest}\n\n{path.read_text()}", name=name) for name, path in CHEATS.items()]
    plan = replace(QUICK, first_s=20.0)
    found: dict[str, Score] = {}
    for first in range(0, len(cheats), 5):
        some = [*cheats[first : first + 5], task.seed()]
        found |= {c.name: score for c, score in zip(some, race(task, some, sandboxes, plan), strict=True)}
    return found


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_on_the_device_scores_nothing(name: str, verdicts: dict[str, Score]) -> None:
    assert verdicts[name].value is None
    assert verdicts[name].verdict in EXPECTED.get(name, {Verdict.WRONG}), verdicts[name].reason


def test_the_device_is_usable_after_them(verdicts: dict[str, Score]) -> None:
    assert verdicts["seed"].ok, verdicts["seed"].reason
