"""The evaluation: `pytest benchmarks/kernels/layernorm_gelu [--candidate FILE --task layernorm_gelu]` scores on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_layernorm_gelu(evaluate: Callable[..., Score]) -> None:
    score = evaluate("layernorm_gelu", quick=True)
    assert score.ok, f"{score.verdict}: {score.reason}"


test_layernorm_gelu.task_name = "layernorm_gelu"
