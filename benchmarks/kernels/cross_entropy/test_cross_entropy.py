"""The evaluation: `pytest benchmarks/kernels/cross_entropy [--candidate FILE --task cross_entropy]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_cross_entropy(evaluate: Callable[..., Score]) -> None:
    score = evaluate("cross_entropy", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_cross_entropy.task_name = "cross_entropy"
