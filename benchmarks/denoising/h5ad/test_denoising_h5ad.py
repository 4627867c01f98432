"""The evaluation: score the seed, or `--candidate FILE --task denoising-h5ad`, on the file that RATCHET_H5AD names."""

from collections.abc import Callable

import pytest

from benchmarks.denoising.h5ad.score import TASK
from benchmarks.task import Score

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


@pytest.mark.skipif(TASK.missing() is not None, reason=TASK.missing() or "")
def test_denoising_h5ad(evaluate: Callable[[str], Score]) -> None:
    score = evaluate("denoising-h5ad")
    assert score.ok, f"{score.verdict}: {score.reason}"


test_denoising_h5ad.task_name = "denoising-h5ad"  # type: ignore[attr-defined]
