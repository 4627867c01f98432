"""The evaluation: `pytest benchmarks/kernels/rmsnorm [--candidate FILE --task rmsnorm]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_rmsnorm(evaluate: Callable[..., Score]) -> None:
    score = evaluate("rmsnorm", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_rmsnorm.task_name = "rmsnorm"
