"""The evaluation: score the seed harness, or `--candidate FILE --task lawbench-multilabel`, on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.lawbench.multilabel.score import TASK
from benchmarks.task import Score

pytestmark = [pytest.mark.sandbox, pytest.mark.model]


def test_lawbench_multilabel(evaluate: Callable[[str], Score]) -> None:
    if reason := TASK.missing():
        pytest.skip(reason)
    score = evaluate("lawbench-multilabel")
    assert score.ok, f"{score.verdict}: {score.reason}"
    assert len(score.units) == 399


test_lawbench_multilabel.task_name = "lawbench-multilabel"  # type: ignore[attr-defined]
