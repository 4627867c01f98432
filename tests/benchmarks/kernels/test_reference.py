"""The float64 reference, against the sums written out by hand in numpy."""

import numpy as np
import pytest

from benchmarks.kernels.problem import mistake
from benchmarks.kernels.trimul.inputs import CHECKED, TIMED, TriMulShape, draw
from benchmarks.kernels.trimul.reference import HIDDEN, reference
from benchmarks.kernels.trimul.score import TASK
from benchmarks.task import Split


def by_hand(given):
    """The equation of the README, index by index, without a matrix product or a library's layer norm."""
    given = {name.removeprefix("weights."): array.astype(np.float64) for name, array in given.items()}

    def norm(values, scale, shift):
        return (values - values.mean(-1, keepdims=True)) / np.sqrt(values.var(-1, keepdims=True) + 1e-5) * scale + shift

    def linear(values, weight):
        return np.einsum("...c,hc->...h", values, weight)

    def sigmoid(values):
        return 1 / (1 + np.exp(-values))

    x = norm(given["x"], given["norm_weight"], given["norm_bias"])
    mask = given["mask"][..., None]
    left = linear(x, given["left_weight"]) * mask * sigmoid(linear(x, given["left_gate_weight"]))
    right = linear(x, given["right_weight"]) * mask * sigmoid(linear(x, given["right_gate_weight"]))
    batch, n = mask.shape[:2]
    product = np.zeros((batch, n, n, HIDDEN))
    for i in range(n):
        for j in range(n):
            product[:, i, j] = (left[:, i] * right[:, j]).sum(axis=1)
    product = norm(product, given["out_norm_weight"], given["out_norm_bias"])
    return linear(product * sigmoid(linear(x, given["out_gate_weight"])), given["out_weight"])


@pytest.mark.parametrize(
    "shape", [TriMulShape(7, 2, 128), TriMulShape(9, 1, 64, "cauchy"), TriMulShape(8, 1, 96, masked=True)]
)
def test_reference_is_the_equation(shape):
    given = draw(shape, np.random.default_rng(3))
    np.testing.assert_allclose(reference(given), by_hand(given), rtol=1e-9, atol=1e-9)


def test_left_and_right_are_not_interchangeable():
    given = draw(TriMulShape(6, 1, 32), np.random.default_rng(0))
    swapped = dict(given)
    for part in ("weight", "gate_weight"):
        swapped[f"weights.left_{part}"] = given[f"weights.right_{part}"]
        swapped[f"weights.right_{part}"] = given[f"weights.left_{part}"]
    # Exchanging the two transposes the sum, and the output's own gate does not transpose with it.
    assert not np.allclose(reference(given), reference(swapped), atol=0.05)


@pytest.mark.parametrize("shape", [*TIMED[Split.SEARCH], *TIMED[Split.REPORT], *CHECKED], ids=lambda s: s.key)
def test_inputs_have_the_shapes_they_declare(shape):
    given = draw(shape, np.random.default_rng(0))
    assert {s.name: s.shape for s in shape.inputs} == {name: array.shape for name, array in given.items()}
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in given.values())
    if shape.masked:
        assert set(np.unique(given["mask"])) == {0.0, 1.0}


def test_splits_share_no_timed_shape():
    assert not set(TIMED[Split.SEARCH]) & set(TIMED[Split.REPORT])


def test_a_mistake_is_found_and_told():
    wanted = {"out": np.array([1.0, -2.0, 0.0])}
    assert mistake(TASK.problem, {"out": np.array([1.03, -2.05, 0.019], np.float32)}, wanted) is None
    assert "1 of 3 elements are out of tolerance" in str(
        mistake(TASK.problem, {"out": np.array([1.0, -2.0, 0.021], np.float32)}, wanted)
    )
    for never in (np.nan, np.inf, -np.inf):
        assert "not finite" in str(mistake(TASK.problem, {"out": np.array([1, -2, never], np.float32)}, wanted))
