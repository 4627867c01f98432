"""The evaluation: `pytest benchmarks/kernels/rope [--candidate FILE --task rope]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_rope(evaluate: Callable[..., Score]) -> None:
    score = evaluate("rope", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_rope.task_name = "rope"
