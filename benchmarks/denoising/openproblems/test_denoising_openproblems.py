"""The evaluation: score the seed, or `--candidate FILE --task denoising-openproblems`, on the published PBMC 1k."""

from collections.abc import Callable

import pytest

from benchmarks.denoising.openproblems import data
from benchmarks.task import Score

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


@pytest.mark.skipif(data.missing() is not None, reason=data.missing() or "")
def test_denoising_openproblems(evaluate: Callable[[str], Score]) -> None:
    score = evaluate("denoising-openproblems")
    assert score.ok, f"{score.verdict}: {score.reason}"


test_denoising_openproblems.task_name = "denoising-openproblems"  # type: ignore[attr-defined]
