"""Every kernel problem: its reference against a second calculation, its inputs, its seed, and errors that must be caught."""

import numpy as np
import pytest
import torch

from benchmarks.kernels.problem import mistake
from benchmarks.task import Split
from tests.benchmarks.kernels.independent import ANSWERS
from tests.benchmarks.kernels.problems import CHECKS, NAMES, PROBLEMS, TIMED, drawn, label, outputs, program, ran


def exactly(inputs):
    """Floating-point inputs in float64."""
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}


@pytest.mark.parametrize(("name", "shape"), CHECKS, ids=label)
def test_a_reference_agrees_with_a_second_calculation(name, shape):
    inputs, answer = drawn(name, shape)
    second = ANSWERS[name](exactly(inputs))
    if name == "topk_gating":
        best = second["best"][:, : shape.k]
        powers = np.exp(best - best[:, :1])
        second = {"best": best, "weights": powers / powers.sum(axis=1, keepdims=True)}
    for output, wanted in second.items():
        # Cancellation leaves float64 itself with an error as large as its last bits of what was summed.
        scale = answer.get(f"{output}.scale", torch.tensor(1.0)).numpy()
        apart = np.abs(np.asarray(wanted) - answer[output].numpy())
        assert (apart <= 1e-9 * (np.abs(answer[output].numpy()) + scale)).all()


@pytest.mark.parametrize(("name", "shape"), CHECKS + TIMED, ids=label)
def test_inputs_are_what_the_shape_declares(name, shape):
    inputs = PROBLEMS[name].inputs(shape, np.random.default_rng(0))
    assert list(inputs) == [spec.name for spec in shape.inputs]
    for spec in shape.inputs:
        tensor = inputs[spec.name]
        assert (tuple(tensor.shape), str(tensor.dtype)) == (spec.shape, f"torch.{spec.dtype}")
        assert tensor.is_contiguous()
        assert bool(torch.isfinite(tensor).all())
    assert shape.flops > 0
    assert 0 < shape.bytes <= sum(spec.bytes for spec in (*shape.inputs, *shape.outputs))


@pytest.mark.parametrize(("name", "shape"), CHECKS, ids=label)
def test_a_seed_of_its_own_gives_inputs_of_their_own(name, shape):
    one, again, other = (PROBLEMS[name].inputs(shape, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(("name", "shape"), CHECKS, ids=label)
def test_the_plain_program_is_right_and_memory_left_alone_is_not(name, shape):
    inputs, answer = drawn(name, shape)
    assert mistake(PROBLEMS[name], outputs(shape), answer) is not None
    assert mistake(PROBLEMS[name], ran(program(PROBLEMS[name].plain), shape, inputs), answer) is None


@pytest.mark.parametrize(("name", "shape"), CHECKS, ids=label)
def test_one_element_that_is_off_by_three_tolerances_is_caught(name, shape):
    problem = PROBLEMS[name]
    _, answer = drawn(name, shape)
    rng = np.random.default_rng(5)
    for spec in shape.outputs:
        honest = {s.name: answer[s.name].to(getattr(torch, s.dtype)) for s in shape.outputs}
        assert mistake(problem, honest, answer) is None
        if spec.dtype.startswith("int"):
            continue  # Indices have a test of their own.
        at = int(rng.integers(spec.items))
        wanted = float(answer[spec.name].reshape(-1)[at])
        scale = answer.get(f"{spec.name}.scale", torch.ones(1, dtype=torch.float64)).expand(spec.shape).reshape(-1)[at]
        tolerance = problem.tolerances[spec.dtype]
        allowed = tolerance.atol * float(scale) + tolerance.rtol * abs(wanted)
        honest[spec.name].view(-1)[at] = wanted + 3 * allowed
        assert "1 of" in str(mistake(problem, honest, answer))
        for never in (np.nan, np.inf, -np.inf):
            honest[spec.name].view(-1)[at] = never
            assert "not finite" in str(mistake(problem, honest, answer))


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_says_why_it_tolerates_what_it_does(name):
    problem = PROBLEMS[name]
    for device in ("cpu", "cuda"):
        timed = {split: set(problem.shapes(split, device)) for split in Split}
        # A program tuned to the search split's shapes and to nothing else shows it on the report split.
        assert timed[Split.SEARCH]
        assert not timed[Split.SEARCH] & timed[Split.REPORT]
        shapes = [*problem.checks(device), *timed[Split.SEARCH], *timed[Split.REPORT]]
        assert len({shape.key for shape in shapes}) == len(set(shapes))
        assert {"normal", "cauchy", "structured", "adversarial"} <= {shape.law for shape in shapes}
        for dtype in {spec.dtype for shape in shapes for spec in shape.outputs if "float" in spec.dtype}:
            assert len(problem.tolerances[dtype].reason) > 30


def test_trimul_has_the_seven_published_shapes_and_a_grid():
    problem = PROBLEMS["trimul"]
    timed = [(s.n, s.batch, s.channels, s.law, s.masked) for s in problem.shapes(Split.REPORT, "cuda")]
    assert timed == [
        (256, 2, 128, "normal", False),
        (768, 1, 128, "cauchy", False),
        (256, 2, 384, "normal", True),
        (512, 1, 128, "normal", False),
        (1024, 1, 128, "cauchy", False),
        (768, 1, 384, "normal", True),
        (1024, 1, 384, "normal", False),
    ]
    grid = problem.checks("cuda")
    assert {32, 1024} <= {s.n for s in grid}
    assert {128, 256, 384, 768} <= {s.channels for s in grid}
    assert {(law, masked) for law in ("normal", "cauchy") for masked in (False, True)} <= {
        (s.law, s.masked) for s in grid
    }


def test_an_answer_of_another_shape_is_our_own_fault():
    with pytest.raises(ValueError, match="has shape"):
        mistake(PROBLEMS["softmax"], {"out": torch.zeros(3)}, {"out": torch.zeros(4, dtype=torch.float64)})
