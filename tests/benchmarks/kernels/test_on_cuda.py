"""What holds on the CPU holds on a GPU: references, plain programs and Triton programs, on every shape checked there."""

import importlib.util

import numpy as np
import pytest
import torch

from benchmarks.kernels.problem import mistake
from benchmarks.registry import task
from tests.benchmarks.kernels.problems import NAMES, PROBLEMS, arguments, program

pytestmark = pytest.mark.gpu
CHECKED = [(name, shape) for name in NAMES for shape in PROBLEMS[name].checks("cuda")]


@pytest.fixture(autouse=True)
def device():
    if not torch.cuda.is_available():
        pytest.skip("this build of torch finds no CUDA device")


def wrong(name, kernel, shape):
    """What is wrong with a kernel's outputs on the GPU."""
    problem = PROBLEMS[name]
    inputs = problem.inputs(shape, np.random.default_rng(1), "cuda")
    outputs = {s.name: torch.empty(s.shape, dtype=getattr(torch, s.dtype), device="cuda") for s in shape.outputs}
    kernel(*arguments(inputs), *outputs.values())
    torch.cuda.synchronize()
    return mistake(problem, outputs, problem.reference(shape, inputs))


@pytest.mark.parametrize("name", NAMES)
def test_references_agree_with_those_on_the_cpu(name):
    problem = PROBLEMS[name]
    for shape in problem.checks():
        inputs = problem.inputs(shape, np.random.default_rng(1))
        there = problem.reference(shape, {key: tensor.cuda() for key, tensor in inputs.items()})
        for key, here in problem.reference(shape, inputs).items():
            if here.is_floating_point():
                torch.testing.assert_close(there[key].cpu(), here, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "shape"), CHECKED, ids=lambda v: v if isinstance(v, str) else v.key)
def test_plain_and_triton_programs_are_right(name, shape):
    assert wrong(name, program(PROBLEMS[name].plain), shape) is None
    spec = importlib.util.spec_from_file_location(f"triton_{name}", task(name).folder / "baselines" / "triton_.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert wrong(name, module.kernel, shape) is None
