"""Honest kernels of many durations, for comparing the evaluator's clock with one that runs in the same process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.kernels.clock import ENVIRONMENT
from benchmarks.kernels.memory import THREADS
from benchmarks.kernels.problem import Case, Problem, Tensors, Tolerance
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.kernels.task import KernelTask
from benchmarks.task import Split

PRODUCT = "import torch\n\n\ndef kernel(a, b, out):\n    torch.matmul(a, b, out=out)\n"
SOFTMAX = "import torch\n\n\ndef kernel(x, out):\n    torch.softmax(x, -1, out=out)\n"
TOLERANCES = {"float32": Tolerance(1e-3, 1e-2, "float32 sums of up to 2048 products of normal numbers")}


@dataclass(frozen=True)
class Square(Case):
    """Product of two float32 matrices [n, n]: bound by operations, so caches matter little."""

    n: int

    @property
    def flops(self) -> float:
        """See `Shape.flops`."""
        return 2.0 * self.n**3

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """See `Shape.inputs`."""
        return TensorSpec("a", (self.n, self.n)), TensorSpec("b", (self.n, self.n))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Shape.outputs`."""
        return (TensorSpec("out", (self.n, self.n)),)


@dataclass(frozen=True)
class Rows(Case):
    """Softmax of float32 rows [rows, 1024]: bound by bytes, so caches matter much."""

    rows: int

    @property
    def flops(self) -> float:
        """See `Shape.flops`."""
        return 5.0 * self.rows * 1024

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """See `Shape.inputs`."""
        return (TensorSpec("x", (self.rows, 1024)),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Shape.outputs`."""
        return (TensorSpec("out", (self.rows, 1024)),)


class Product(Problem[Square]):
    """One matrix product."""

    folder = Path()
    plain = PRODUCT
    narrowest = "float32"
    tolerances = TOLERANCES

    def __init__(self, *timed: Square) -> None:
        self.checked = {"cpu": (Square(17),)}
        self.timed = {"cpu": dict.fromkeys(Split, timed)}

    def draw(self, shape: Square, generator: torch.Generator) -> Tensors:
        """See `Problem.draw`."""
        return {s.name: torch.randn(s.shape, generator=generator) for s in shape.inputs}

    def exact(self, shape: Square, given: Tensors) -> Tensors:
        """See `Problem.exact`."""
        return {"out": given["a"] @ given["b"]}


class Softmax(Problem[Rows]):
    """One softmax."""

    folder = Path()
    plain = SOFTMAX
    narrowest = "float32"
    tolerances = TOLERANCES

    def __init__(self, *timed: Rows) -> None:
        self.checked = {"cpu": (Rows(3),)}
        self.timed = {"cpu": dict.fromkeys(Split, timed)}

    def draw(self, shape: Rows, generator: torch.Generator) -> Tensors:
        """See `Problem.draw`."""
        return {"x": torch.randn(shape.rows, 1024, generator=generator)}

    def exact(self, shape: Rows, given: Tensors) -> Tensors:
        """See `Problem.exact`."""
        return {"out": torch.softmax(given["x"], -1)}


class OneKernel(KernelTask[Square]):
    """A task of a problem given at run time."""

    name = "honest"
    title = "an honest kernel"

    def __init__(self, problem: Problem[Square]) -> None:
        self.problem = problem


IN_ONE_PROCESS = """
import ctypes, json, mmap, statistics, sys, timeit, torch
source, sides, blocks = json.load(sys.stdin)
space = {}
exec(source, space)
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
def tensors(base, size, shapes, places):
    at = libc.mmap(base, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert at == base, "the address is taken"
    whole = torch.frombuffer((ctypes.c_char * size).from_address(at), dtype=torch.float32)
    return [[whole[p // 4 :].as_strided(s, torch.empty(s, device="meta").stride()) for p, s in zip(slot, shapes)] for slot in places]
slots = list(zip(*(tensors(*side) for side in sides)))
launches = len(slots)
def write():
    drawn = [[torch.randn(tensor.shape) for tensor in given] for given, _ in slots]
    for _, taken in slots:
        for tensor in taken:
            tensor.fill_(float("nan"))
    for (given, _), news in zip(slots, drawn):
        for tensor, new in zip(given, news):
            tensor.copy_(new)
def through():
    for given, taken in slots:
        space["kernel"](*given, *taken)
fresh = []
for _ in range(blocks + 2):
    write()
    fresh.append(timeit.timeit(through, number=1) / launches)
hot = [timeit.timeit(lambda: space["kernel"](*slots[0][0], *slots[0][1]), number=launches) / launches for _ in range(blocks)]
print(json.dumps([statistics.median(fresh[2:]), statistics.median(hot)]))
"""
"""Times a kernel with `timeit` where it runs: once on each of as many inputs as a block has, written anew for each block like the
evaluator's, in its order and at its addresses (so that the caches hold the same), and over and over on one set of tensors that is
in the caches."""


def in_one_process(request: str) -> str:
    """Run that program under the same settings of threads; a JSON request in, a JSON answer out."""
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS], input=request, capture_output=True, text=True, check=True,
        env=os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(THREADS)},
    )  # fmt: skip
    return done.stdout
