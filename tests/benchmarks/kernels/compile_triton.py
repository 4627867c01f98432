"""Compile our Triton programs for a GPU that isn't here: `python -m tests.benchmarks.kernels.compile_triton 90`.

One JSON line a compiled kernel: task, shape, kernel, and what it takes of a multiprocessor. Triton needs a driver only to launch, so a
stand-in says which GPU it is for, and every launch ends when it is compiled. Tensors have no memory ("meta"), only shapes.
"""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver, jit

from benchmarks.registry import task
from benchmarks.task import Split
from tests.benchmarks.kernels.problems import NAMES, PROBLEMS, arguments

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
USAGE = re.compile(r"REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)")


class Elsewhere:
    """What Triton asks of a driver before it launches."""

    def __init__(self, capability):
        self.get_current_target = lambda: GPUTarget("cuda", capability, 32)
        self.get_current_device = lambda: 0
        self.get_current_stream = lambda device=None: 0


def usage(compiled):
    """Registers a thread, bytes of stack and of local memory a thread (spilled registers are there), as the assembler says."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        line = [CUOBJDUMP, "--dump-resource-usage", file.name]
        said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    return dict(zip(("registers", "stack", "local"), map(int, USAGE.search(said).groups()), strict=True))


def main():
    driver.set_active(Elsewhere(int(sys.argv[1])))
    launch, met = jit.JITFunction.run, []

    def compile_only(self, *given, grid, warmup, **options):
        compiled = launch(self, *given, grid=grid, warmup=True, **options)
        met.append((self.fn.__name__, compiled))

    jit.JITFunction.run = compile_only
    seen = set()
    for name in NAMES:
        spec = importlib.util.spec_from_file_location(f"triton_{name}", task(name).folder / "baselines" / "triton_.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for shape in (*PROBLEMS[name].shapes(Split.SEARCH, "cuda"), *PROBLEMS[name].shapes(Split.REPORT, "cuda")):
            inputs, outputs = (
                {s.name: torch.empty(s.shape, dtype=getattr(torch, s.dtype), device="meta") for s in specs}
                for specs in (shape.inputs, shape.outputs)
            )
            module.kernel(*arguments(inputs), *outputs.values())
            for kernel, compiled in met:
                if compiled.hash not in seen:
                    seen.add(compiled.hash)
                    row = {"shared": compiled.metadata.shared, "warps": compiled.metadata.num_warps, **usage(compiled)}
                    print(json.dumps({"task": name, "shape": shape.key, "kernel": kernel, **row}), flush=True)
            met.clear()


if __name__ == "__main__":
    main()
