"""The evaluation: `pytest benchmarks/denoising [--candidate FILE]` scores a denoiser on the report split."""

from collections.abc import Callable

import pytest

from benchmarks.task import Score


@pytest.mark.sandbox
def test_denoising(evaluate: Callable[[str], Score]) -> None:
    score = evaluate("denoising")
    assert score.ok, score.reason


test_denoising.task_name = "denoising"  # type: ignore[attr-defined]
