"""The evaluation: `pytest benchmarks/kernels/softmax [--candidate FILE --task softmax]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_softmax(evaluate: Callable[..., Score]) -> None:
    score = evaluate("softmax", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_softmax.task_name = "softmax"
