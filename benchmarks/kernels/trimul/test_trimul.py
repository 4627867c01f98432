"""The evaluation: `pytest benchmarks/kernels/trimul [--candidate FILE --task trimul]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_trimul(evaluate: Callable[..., Score]) -> None:
    score = evaluate("trimul", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_trimul.task_name = "trimul"
