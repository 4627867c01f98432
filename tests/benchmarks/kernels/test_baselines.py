"""The CPU baselines are right on every checked shape: one sandbox of the kernels image, with its compiler, runs them all."""

import io

import numpy as np
import pytest
import torch

from benchmarks.kernels.environment import ENVIRONMENT
from benchmarks.kernels.problem import mistake
from benchmarks.registry import task
from sandboxes.base import MIB, Limits
from sandboxes.session import open_session
from tests.benchmarks.kernels.problems import CHECKS, NAMES, PROBLEMS, drawn, outputs

BASELINES = [
    (name, path.stem)
    for name in NAMES
    for path in sorted((task(name).folder / "baselines").glob("*.py"))
    # Triton's have a test of their own, and the compiler takes minutes for all of torch.compile's (see `test_compiled`).
    if path.stem not in ("triton_", "compiled")
]
RUNNER = """
import torch

jobs = torch.load("/scratch/jobs.pt", weights_only=True)
kernels = {}
for name, source in jobs["programs"].items():
    space = {"__name__": "candidate"}
    exec(compile(source, name, "exec"), space)
    kernels[name] = space["kernel"]
for program, arguments, outputs in jobs["launches"]:
    kernels[program](*arguments, *outputs.values())
torch.save([outputs for _, _, outputs in jobs["launches"]], "/scratch/done.pt")
"""


def arguments(inputs):
    plain = [tensor for name, tensor in inputs.items() if "." not in name]
    weights = {name.partition(".")[2]: tensor for name, tensor in inputs.items() if "." in name}
    return [*plain, weights] if weights else plain


@pytest.fixture(scope="module")
def written(sandboxes):
    """What each baseline wrote, by task, baseline and shape. The programs are ours, so what comes back is loaded as tensors."""
    from sandboxes.images import build

    build(sandboxes, "kernels", print)
    keys = [(name, base, shape) for name, base in BASELINES for task_name, shape in CHECKS if task_name == name]
    jobs = {
        "programs": {f"{name}/{base}": task(name).baseline(base).source for name, base in BASELINES},
        "launches": [
            (f"{name}/{base}", arguments(drawn(name, shape)[0]), outputs(shape)) for name, base, shape in keys
        ],
    }
    packed = io.BytesIO()
    torch.save(jobs, packed)
    with open_session(sandboxes, "kernels", Limits(memory_bytes=2048 * MIB, wall_s=120.0)) as box:
        box.put("/scratch/jobs.pt", packed.getvalue())
        box.put("/scratch/runner.py", RUNNER.encode())
        done = box.exec(["python3", "/scratch/runner.py"], env=ENVIRONMENT)
        assert done.succeeded, done.stderr[-2000:]
        results = torch.load(io.BytesIO(box.get("/scratch/done.pt", max_bytes=64 * MIB)), weights_only=True)
    return dict(zip([(n, b, s.key) for n, b, s in keys], results, strict=True))


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.parametrize(("name", "base"), BASELINES, ids=lambda value: value)
def test_a_baseline_is_right_on_every_checked_shape(name, base, written):
    for shape in PROBLEMS[name].checks():
        _, answer = drawn(name, shape)
        assert mistake(PROBLEMS[name], written[name, base, shape.key], answer) is None, shape.key


@pytest.mark.sandbox
@pytest.mark.slow
def test_compiled(sandboxes):
    """torch.compile finds the image's compiler, and what it makes is right."""
    from sandboxes.images import build

    build(sandboxes, "kernels", print)
    shape = PROBLEMS["softmax"].checks()[0]
    inputs, answer = drawn("softmax", shape)
    packed = io.BytesIO()
    program = task("softmax").baseline("compiled").source
    torch.save(
        {"programs": {"compiled": program}, "launches": [("compiled", arguments(inputs), outputs(shape))]}, packed
    )
    with open_session(sandboxes, "kernels", task("softmax").limits.with_(wall_s=120.0)) as box:
        box.put("/scratch/jobs.pt", packed.getvalue())
        box.put("/scratch/runner.py", RUNNER.encode())
        done = box.exec(["python3", "/scratch/runner.py"], env=ENVIRONMENT)
        assert done.succeeded, done.stderr[-2000:]
        (result,) = torch.load(io.BytesIO(box.get("/scratch/done.pt", max_bytes=MIB)), weights_only=True)
    assert np.isfinite(result["out"].numpy()).all()
    assert mistake(PROBLEMS["softmax"], result, answer) is None
