"""The evaluation: `pytest benchmarks/kernels/matmul_bias_act [--candidate FILE --task matmul_bias_act]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_matmul_bias_act(evaluate: Callable[..., Score]) -> None:
    score = evaluate("matmul_bias_act", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_matmul_bias_act.task_name = "matmul_bias_act"
