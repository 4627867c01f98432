"""The evaluation: `pytest benchmarks/kernels/w8a16_matmul [--candidate FILE --task w8a16_matmul]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_w8a16_matmul(evaluate: Callable[..., Score]) -> None:
    score = evaluate("w8a16_matmul", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_w8a16_matmul.task_name = "w8a16_matmul"
