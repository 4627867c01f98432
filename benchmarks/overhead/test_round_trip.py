"""Round trip of one candidate in a fresh sandbox, every way that there is, interleaved: in, run, out, removed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.overhead.figures import figures
from benchmarks.overhead.measure import chunk, line_of, one_round, reference
from benchmarks.overhead.ways import OURS, PEERS, Facts, Way, ways_to_run
from benchmarks.overhead.workload import IMAGE, PROGRAMS
from sandboxes.base import SandboxFactory, UserError

ROUNDS = {"python": 20, "torch": 5}


@pytest.fixture(scope="module", params=[OURS, (*OURS, *PEERS)], ids=["ours", "with peers"])
def ways(
    request: pytest.FixtureRequest, backend_with: Callable[..., SandboxFactory]
) -> Iterator[tuple[dict[str, Way], Facts]]:
    facts: Facts = {}
    for backend in ("docker", "bubblewrap"):
        backend_with(backend, IMAGE)
    try:
        with ways_to_run(request.param, facts) as found:
            yield found, facts
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("program", PROGRAMS)
def test_round_trip(
    benchmark: BenchmarkFixture,
    ways: tuple[dict[str, Way], Facts],
    program: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # What pytest-benchmark times is a whole round of every way; the figure of each is in `extra_info`. Timing each way
    # in a test of its own would compare one minute of the machine with another.
    (found, facts), order, load = ways, random.Random(0), os.getloadavg()[0]
    benchmark.group = f"{program}, one round of every way"
    taken: list[dict[str, dict[str, object]]] = []
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: taken.append(one_round(found, PROGRAMS[program], order)), rounds=ROUNDS[program], warmup_rounds=1
    )
    made = chunk("round_trip", program, reference(tuple(found)), taken[1:], facts, load)
    rows = figures([made])
    benchmark.extra_info.update(facts=facts, values=made.values, figures=[row.model_dump() for row in rows])
    with capsys.disabled():
        print("", *(line_of(row) for row in rows), sep="\n")
    assert all(len(values) == ROUNDS[program] for values in made.values.values())
