"""The evaluation: score the seed, or `--candidate FILE --task denoising-facs`, on the 3,774 sorted cells."""

from collections.abc import Callable

import pytest

from benchmarks.denoising.facs import data
from benchmarks.task import Score

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


@pytest.mark.skipif(data.missing() is not None, reason=data.missing() or "")
def test_denoising_facs(evaluate: Callable[[str], Score]) -> None:
    score = evaluate("denoising-facs")
    assert score.ok, f"{score.verdict}: {score.reason}"
    assert len(score.units) == data.CELLS


test_denoising_facs.task_name = "denoising-facs"  # type: ignore[attr-defined]
