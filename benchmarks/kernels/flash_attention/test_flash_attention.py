"""The evaluation: `pytest benchmarks/kernels/flash_attention [--candidate FILE --task flash_attention]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_flash_attention(evaluate: Callable[..., Score]) -> None:
    score = evaluate("flash_attention", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_flash_attention.task_name = "flash_attention"
