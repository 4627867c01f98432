"""The kernel clock measured: does it agree with `timeit`, how well does it repeat itself, and what does it cost?

`pytest benchmarks/overhead/test_kernel_clock.py --benchmark-only` on an otherwise idle machine; each test leaves its numbers
in `results/published/kernels-cpu/`, and in `kernels-cuda/` what was measured on a GPU (`-m gpu`).
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.stats import bootstrap

from benchmarks.kernels import idle, protocol, rounds
from benchmarks.kernels.clock import Program
from benchmarks.kernels.lending import NO_ROOM
from benchmarks.kernels.plan import Plan
from benchmarks.kernels.problem import Device, Doubles
from benchmarks.kernels.rounds import Run
from benchmarks.kernels.task import KernelTask, score_of
from benchmarks.kernels.trimul.score import TASK as TRIMUL
from benchmarks.kernels.verdict import middle_half
from benchmarks.overhead.alike import what_stays
from benchmarks.overhead.honest import PRODUCT, SOFTMAX, OneKernel, Product, Rows, Softmax, Square, in_one_process
from benchmarks.registry import task as find
from benchmarks.task import Bench, Candidate, Score, Split
from results.provenance import provenance
from results.stats import sign_flip
from results.store import write_atomically
from sandboxes.base import SandboxFactory

pytestmark = pytest.mark.timeout(1800)  # Six full runs of trimul take longer than a test may.
PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"
PRODUCTS = (96, 192, 384, 768, 1280)
ROWS = (16, 128, 1024, 4096)
PRODUCTS_ON_A_GPU = (512, 1024, 2048, 4096, 8192)
ROWS_ON_A_GPU = (8192, 65536, 524288)
PAIRS = 24
AGREE = Plan(least=2 * PAIRS, most=2 * PAIRS, seconds=3600.0, life=2)
"""Each life in a sandbox, with its two timed blocks of a shape, has a process of `timeit` right before the first, with as many."""
REPEAT = Plan(least=12, most=12, seconds=60.0, life=2)
TIMES = 10


def publish(name: str, what: str, numbers: dict[str, Any], device: Device = "cpu") -> None:
    """Write numbers with where they came from."""
    text = json.dumps({"what": what, "provenance": provenance().model_dump(mode="json"), **numbers}, indent=1)
    write_atomically(PUBLISHED / f"kernels-{device}" / f"{name}.json", text.encode())


def scored(task: KernelTask[Any], run: Run[Any], bench: Bench) -> Score:
    """The plain program as a candidate, so that its ratio to itself is known to be 1."""
    [entrant] = run.run([Candidate(source=task.problem.plain)], bench, task.image, task.limits)
    score = score_of(entrant, run, bench)
    assert score.ok, score.reason
    return score


def compared(task: KernelTask[Any], source: str, sandboxes: SandboxFactory) -> list[dict[str, Any]]:
    """For each shape: microseconds by the evaluator and in one process (`in_one_process`), in turn, so that what drifts drifts for both.

    A value is the best block of one process. Processes of one program differ by a tenth, so it takes many to compare two clocks.
    """
    run = Run(task.problem, Split.REPORT, AGREE, 0, task.target)
    shapes = {shape.key: shape for shape in run.shapes}
    theirs: dict[str, list[dict[str, float]]] = {key: [] for key in shapes}

    def timeit_first(said: str) -> None:
        # What is said before each timed block begins with the name of its shape; all programs are frozen then.
        key = said.split(",")[0]
        if run.rounds % AGREE.life == 0:
            block = protocol.Run(1, run.launches[key], shapes[key].inputs, shapes[key].outputs, NO_ROOM)
            theirs[key].append(in_one_process(source, block, AGREE.life, task.device))

    score = scored(task, run, Bench(sandboxes, progress=timeit_first))
    rows = []
    for key, launches in run.launches.items():
        protocol_us = score.secondary[f"{key}/protocol_us"]
        # The candidate is the plain program, so a life gives two values.
        blocks = np.array([score.raw[f"{key}/{name}"] for name in ("block_us", "plain_block_us")])
        ours = (blocks.reshape(2, PAIRS, AGREE.life).min(axis=2) - protocol_us) / launches
        row: dict[str, Any] = {
            "kernel": key, "launches": launches, "pairs": PAIRS, "evaluator_us": float(np.median(ours)),
            "evaluator_middle_half": middle_half(ours) / float(np.median(ours)),
            "protocol_us_a_block": protocol_us, "evaluator_values": ours.tolist(),
        }  # fmt: skip
        for kind in theirs[key][0]:
            alone = 1e6 * np.array([seconds[kind] for seconds in theirs[key]])
            pairs = np.log(ours / alone).mean(axis=0)
            low, high = bootstrap((pairs,), np.median, method="percentile", rng=0).confidence_interval
            row[kind] = {
                "us": float(np.median(alone)), "middle_half": middle_half(alone) / float(np.median(alone)),
                "difference": math.expm1(np.median(pairs)), "low": math.expm1(low), "high": math.expm1(high),
                "values": alone.tolist(),
            }  # fmt: skip
        rows.append(row)
    return rows


FAMILIES: dict[tuple[str, Device], tuple[Any, str]] = {
    ("product", "cpu"): (Product(*map(Square, PRODUCTS)), PRODUCT),
    ("softmax", "cpu"): (Softmax(*map(Rows, ROWS)), SOFTMAX),
    ("product", "cuda"): (Product(*map(Square, PRODUCTS_ON_A_GPU), device="cuda"), PRODUCT),
    ("softmax", "cuda"): (Softmax(*map(Rows, ROWS_ON_A_GPU), device="cuda"), SOFTMAX),
}


@pytest.mark.parametrize(
    ("family", "device"),
    [pytest.param(*key, marks=[pytest.mark.gpu] if "cuda" in key else [], id="-".join(key)) for key in FAMILIES],
)
def test_agreement_with_a_clock_in_the_same_process(
    benchmark: BenchmarkFixture, sandboxes: SandboxFactory, family: str, device: Device
) -> None:
    """On a CPU `timeit`; on a GPU a pair of events, with `do_bench` beside it (in place of `timeit` on hot inputs)."""
    problem, source = FAMILIES[family, device]
    task = OneKernel(problem).on(device)
    rows = benchmark.pedantic(compared, (task, source, sandboxes), rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info["rows"] = rows
    what = (
        f"evaluator against {'timeit' if device == 'cpu' else 'CUDA events, and do_bench as hot'}: {PAIRS} pairs of a life in a sandbox "
        f"and a process of its own right before, each the best of {AGREE.life} blocks"
    )
    publish(f"agreement-{family}", what, {"rows": rows}, device)
    for row in rows:
        kinds = {kind: of for kind, of in row.items() if isinstance(of, dict)}
        alone = {kind: (round(of["us"], 1), round(of["difference"], 4)) for kind, of in kinds.items()}
        print(row["kernel"], round(row["evaluator_us"], 1), alone)


def spread(values: list[float]) -> dict[str, float]:
    """Median, standard deviation and range, the latter two as shares of the median."""
    middle = statistics.median(values)
    return {
        "median": middle, "deviation": statistics.stdev(values) / middle, "range": (max(values) - min(values)) / middle,
    }  # fmt: skip


def test_repeatability(benchmark: BenchmarkFixture, sandboxes: SandboxFactory) -> None:
    task = OneKernel(Product(Square(768)))
    scores: list[Score] = []

    def once() -> None:
        run = Run(task.problem, Split.REPORT, REPEAT, len(scores), task.target)
        scores.append(scored(task, run, Bench(sandboxes)))

    benchmark.pedantic(once, rounds=TIMES)  # type: ignore[no-untyped-call]
    numbers = {
        "time_us": spread([score.secondary["time_us"] for score in scores]),
        "ratio": spread([score.value or 0.0 for score in scores]),
        "ratio_values": [score.value for score in scores],
        "time_values": [score.secondary["time_us"] for score in scores],
    }
    publish("repeatability", f"the same product (768) scored {TIMES} times, {REPEAT.least} blocks each", numbers)
    print(numbers)


ALIKE = 5
"""Copies in a run, which make twenty ordered pairs."""
RUNS = 6


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "full"])
@pytest.mark.parametrize("name", ["rope", "softmax", "trimul"])
def test_how_often_a_copy_is_called_better(
    benchmark: BenchmarkFixture, sandboxes: SandboxFactory, name: str, quick: bool
) -> None:
    """The seed against copies of itself by the gate's test: p at or below 0.05 should come in a twentieth of the pairs."""
    task = find(name)
    copies = [Candidate(source=f"{task.seed().source}\n# {i}\n", name=f"copy {i}") for i in range(ALIKE)]
    rows: list[dict[str, Any]] = []
    tables: list[Doubles] = []

    def once() -> None:
        scores = task.score(copies, Split.SEARCH, len(rows), Bench(sandboxes, quick=quick))
        assert all(score.ok for score in scores)
        keys = sorted(scores[0].units)
        units = [np.array([score.units[key] for key in keys]) for score in scores]
        lives = sorted({key.rsplit("/", 1)[1] for key in keys})
        means = [
            np.array([np.mean([s.units[k] for k in keys if k.endswith(f"/{life}")]) for life in lives]) for s in scores
        ]
        tables.append(np.array(means))
        pairs = [a - b for a, b in itertools.permutations(units, 2)]
        rows.append({
            "units": len(keys), "lives": len(lives), "values": [score.value for score in scores],
            "unit_values": {score_number: dict(sorted(s.units.items())) for score_number, s in enumerate(scores)},
            "largest_gain": max(float(pair.mean()) for pair in pairs),
            "p": sorted(sign_flip(list(pair)) for pair in pairs),
            "p_of_lives": sorted(sign_flip(list(a - b)) for a, b in itertools.permutations(means, 2)),
        })  # fmt: skip

    benchmark.pedantic(once, rounds=RUNS)  # type: ignore[no-untyped-call]
    shares = {
        f"{said}_at_{level:g}": float(np.mean(np.array([p for row in rows for p in row[kind]]) <= level))
        for said, kind in (("share", "p"), ("share_of_lives", "p_of_lives")) for level in (0.05, 0.01, 0.001)
    }  # fmt: skip
    pairs = sum(len(row["p"]) for row in rows)
    what = f"{name}: the seed against {ALIKE - 1} copies of itself on the search split, all ordered pairs, {RUNS} runs"
    stays = what_stays(tables)
    publish(f"alike-{name}-{'quick' if quick else 'full'}", what, {**shares, **stays, "pairs": pairs, "runs": rows})
    print(shares, stays, pairs)


PARTS: dict[str, tuple[Any, str]] = {
    "candidates' blocks, protocol included": (Program, "time"),
    "starting sandboxes": (Program, "connect"),
    "beginning lives": (rounds.Run, "_live"),
    "checking outputs": (rounds, "mistake"),
    "reading the process table": (idle, "_processes"),
}


@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
def test_cost_of_one_trimul_candidate(benchmark: BenchmarkFixture, sandboxes: SandboxFactory, quick: bool) -> None:
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - begun

        return wrapped

    problem = TRIMUL.problem
    with ExitStack() as stack:
        for name, (owner, attribute) in PARTS.items():
            stack.enter_context(patch.object(owner, attribute, timed(name, getattr(owner, attribute))))
        for name, attribute in (("drawing inputs", "inputs"), ("float64 answers", "reference")):
            stack.enter_context(patch.object(problem, attribute, timed(name, getattr(problem, attribute))))
        stack.enter_context(patch("benchmarks.kernels.entrant.time.sleep", timed("watching after a turn", time.sleep)))
        wall, cpu = time.perf_counter(), time.process_time()
        score = benchmark.pedantic(  # type: ignore[no-untyped-call]
            lambda: TRIMUL.score([TRIMUL.seed()], Split.REPORT, 5, Bench(sandboxes, quick=quick))[0], rounds=1
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert score.ok, score.reason
    blocks = len(score.units) / len(problem.shapes(Split.REPORT)) * score.secondary["blocks_a_life"]
    kernels = sum(float(np.sum(v)) for k, v in score.raw.items() if k.endswith("block_us")) / 1e6
    numbers = {
        "wall_s": wall, "evaluator_cpu_s": cpu, "timed_blocks_a_shape": blocks, "in_timed_blocks_s": kernels,
        "parts_s": spent, "interval": score.interval,
    }  # fmt: skip
    publish(f"cost-{'quick' if quick else 'full'}", "one trimul candidate, the seed, on the report split", numbers)
    print(numbers)
