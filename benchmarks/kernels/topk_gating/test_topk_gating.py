"""The evaluation: `pytest benchmarks/kernels/topk_gating [--candidate FILE --task topk_gating]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_topk_gating(evaluate: Callable[..., Score]) -> None:
    score = evaluate("topk_gating", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_topk_gating.task_name = "topk_gating"
