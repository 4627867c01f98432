"""Every kernel problem by its task's name, and what tests do with one: draw, run a program, compare."""

import numpy as np
import torch

from benchmarks.registry import ROOT, task
from benchmarks.task import Split

NAMES = sorted(p.parent.name for p in (ROOT / "kernels").glob("*/score.py"))
PROBLEMS = {name: task(name).problem for name in NAMES}
CHECKS = [(name, shape) for name in NAMES for shape in PROBLEMS[name].checks()]
TIMED = [(name, shape) for name in NAMES for split in Split for shape in PROBLEMS[name].shapes(split)]


def label(value):
    """A test's name for a shape or a problem."""
    return value if isinstance(value, str) else value.key


def drawn(name, shape, seed=1):
    """Inputs of a launch and their answer."""
    inputs = PROBLEMS[name].inputs(shape, np.random.default_rng(seed))
    return inputs, PROBLEMS[name].reference(shape, inputs)


def outputs(shape):
    """Poisoned outputs, as the evaluator hands them over."""
    made = {}
    for spec in shape.outputs:
        dtype = getattr(torch, spec.dtype)
        poison = float("nan") if dtype.is_floating_point else torch.iinfo(dtype).min
        made[spec.name] = torch.full(spec.shape, poison, dtype=dtype)
    return made


def arguments(inputs):
    """Positional arguments: dotted names are gathered in one dictionary per group, as the guest does."""
    gathered = {}
    for name, tensor in inputs.items():
        group, dot, member = name.partition(".")
        if dot:
            gathered.setdefault(group, {})[member] = tensor
        else:
            gathered[name] = tensor
    return list(gathered.values())


def ran(kernel, shape, inputs):
    """What a kernel wrote."""
    written = outputs(shape)
    kernel(*arguments(inputs), *written.values())
    return written


def program(path_or_source):
    """The kernel of a program that is ours, from its text."""
    space = {"__name__": "candidate"}
    exec(compile(path_or_source, "candidate.py", "exec"), space)
    return space["kernel"]
