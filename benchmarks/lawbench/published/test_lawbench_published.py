"""The evaluation: score the seed harness, or `--candidate FILE --task lawbench-published`, on all 913 test cases."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score

pytestmark = [pytest.mark.sandbox, pytest.mark.model, pytest.mark.slow]


def test_lawbench_published(evaluate: Callable[[str], Score]) -> None:
    score = evaluate("lawbench-published")
    assert score.ok, f"{score.verdict}: {score.reason}"
    assert len(score.units) == 913


test_lawbench_published.task_name = "lawbench-published"  # type: ignore[attr-defined]
