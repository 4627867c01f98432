"""Run our Triton programs with Triton's interpreter; one JSON line `[task, shape, mistake or null]` for each checked shape.

A process of its own, because Triton decides when it is first imported: `TRITON_INTERPRET=1 python -m tests…interpret`.
"""

import importlib.util
import json
import warnings

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

from benchmarks.kernels.problem import mistake
from benchmarks.registry import task
from tests.benchmarks.kernels.problems import CHECKS, NAMES, PROBLEMS, drawn, ran

# An interpreted product takes a hundred times as long as a compiled one: the largest shape adds nothing but time.
SHAPES = [(name, shape) for name, shape in CHECKS if shape.flops < 4e8]


def wide(handle):
    """The interpreter multiplies bfloat16 by the integers that hold its bits. In float32 such products are exact."""
    if handle.dtype.scalar != tl.bfloat16:
        return handle
    values = interpreter._convert_float(handle.data, tl.bfloat16, tl.float32, None).view(np.float32)
    return interpreter.TensorHandle(values, tl.float32)


def main():
    plain = interpreter.InterpreterBuilder.create_dot
    interpreter.InterpreterBuilder.create_dot = lambda self, a, b, *rest: plain(self, wide(a), wide(b), *rest)
    warnings.simplefilter("ignore", RuntimeWarning)  # Lanes past the end overflow and are not stored.
    kernels = {}
    for name in NAMES:
        # Files of ours: a candidate is never imported.
        spec = importlib.util.spec_from_file_location(f"triton_{name}", task(name).folder / "baselines" / "triton_.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        kernels[name] = module.kernel
    for name, shape in SHAPES:
        inputs, answer = drawn(name, shape)
        print(
            json.dumps([name, shape.key, mistake(PROBLEMS[name], ran(kernels[name], shape, inputs), answer)]),
            flush=True,
        )


if __name__ == "__main__":
    main()
