"""The evaluation: score the seed harness, or `--candidate FILE --task lawbench`, on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score

pytestmark = [pytest.mark.sandbox, pytest.mark.model]


def test_lawbench(evaluate: Callable[[str], Score]) -> None:
    score = evaluate("lawbench")
    assert score.ok, f"{score.verdict}: {score.reason}"


test_lawbench.task_name = "lawbench"  # type: ignore[attr-defined]
