"""One training update of 8 × 256 tokens of SmolLM2-135M: our two trainers and TRL's, each in a process of its own."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.overhead.updates.measure import WAYS, Work, run
from sandboxes.base import UserError


@pytest.mark.parametrize("way", WAYS)
def test_update(benchmark: BenchmarkFixture, way: str) -> None:
    from agents.models.smollm2 import model_folder

    # The clock that counts runs inside the process, around the update alone; what pytest-benchmark times is all of it.
    benchmark.group = "update, start of the process included"
    work, found = Work(), list[dict[str, Any]]()
    try:
        benchmark.pedantic(lambda: found.append(run(way, work, model_folder(print))), rounds=1)  # type: ignore[no-untyped-call]
    except UserError as error:
        pytest.skip(str(error))
    benchmark.extra_info.update(found[0])
    assert len(found[0]["seconds"]) == work.steps
