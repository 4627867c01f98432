"""The evaluation: `pytest benchmarks/kernels/trimul [--candidate FILE --task trimul]` scores on the report split."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from benchmarks.kernels.trimul.inputs import TriMulShape, draw
from benchmarks.kernels.trimul.reference import reference, trimul
from benchmarks.task import Score


@pytest.mark.sandbox
def test_trimul(evaluate: Callable[[str], Score]) -> None:
    score = evaluate("trimul")
    assert score.ok, f"{score.verdict}: {score.reason}"


test_trimul.task_name = "trimul"  # type: ignore[attr-defined]


@pytest.mark.gpu
def test_float32_on_cuda_meets_the_tolerance() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this build of torch finds no CUDA device")
    given = draw(TriMulShape(64, 1, 128), np.random.default_rng(0))
    named = {name.removeprefix("weights."): torch.from_numpy(array).cuda() for name, array in given.items()}
    out = trimul(named.pop("x"), named.pop("mask"), named).cpu().numpy()
    np.testing.assert_allclose(out, reference(given), rtol=2e-2, atol=2e-2)
