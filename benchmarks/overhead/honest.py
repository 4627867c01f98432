"""Honest kernels of many durations, for comparing the evaluator's clock with one that runs in the same process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.kernels import draws, protocol
from benchmarks.kernels.environment import ENVIRONMENT
from benchmarks.kernels.problem import Case, Device, Problem, Tensors, Tolerance
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.kernels.task import KernelTask
from benchmarks.task import Split
from sandboxes.tree import GUEST

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

    def __init__(self, *timed: Square, device: Device = "cpu") -> None:
        self.checked = {device: (Square(17),)}
        self.timed = {device: dict.fromkeys(Split, timed)}

    def draw(self, shape: Square, generator: torch.Generator) -> Tensors:
        """See `Problem.draw`."""
        return {s.name: draws.normal(generator, s.shape) for s in shape.inputs}

    def exact(self, shape: Square, given: Tensors) -> Tensors:
        """See `Problem.exact`."""
        return {"out": given["a"] @ given["b"]}


class Softmax(Problem[Rows]):
    """One softmax."""

    folder = Path()
    plain = SOFTMAX
    narrowest = "float32"
    tolerances = TOLERANCES

    def __init__(self, *timed: Rows, device: Device = "cpu") -> None:
        self.checked = {device: (Rows(3),)}
        self.timed = {device: dict.fromkeys(Split, timed)}

    def draw(self, shape: Rows, generator: torch.Generator) -> Tensors:
        """See `Problem.draw`."""
        return {"x": draws.normal(generator, (shape.rows, 1024))}

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
import json, mmap, sys, time, timeit, torch, guest, protocol
source, line, blocks, pause_s = json.load(sys.stdin)
space = {}
exec(source, space)
run = protocol.decode_run(line.encode())
def tensors(writable, specs):
    places, size = protocol.placement(specs, run.slots)
    memory = guest.HostMemory(size, writable)
    assert memory.address == protocol.BASES[writable], "the address is taken"
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | guest.MAP_FIXED
    memory._map(memory.address, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1)
    return [[memory.tensor(spec, slot[spec.name]) for spec in specs] for slot in places]
slots = list(zip(tensors(False, run.inputs), tensors(True, run.outputs)))
launches = run.slots
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
fresh, paused = [], []
for _ in range(blocks + 2):
    for times, pause in ((fresh, 0.0), (paused, pause_s)):
        write()
        time.sleep(pause)
        times.append(timeit.timeit(through, number=1) / launches)
hot = [timeit.timeit(lambda: space["kernel"](*slots[0][0], *slots[0][1]), number=launches) / launches for _ in range(blocks)]
print(json.dumps({"fresh": min(fresh[2:]), "paused": min(paused[2:]), "hot": min(hot)}))
"""
"""Times a kernel with `timeit` where it runs, best of so many blocks (`timeit` gives the best too): once on each of as many inputs as a
block has, written anew for each block like the evaluator's, in its order and at its addresses (so that the caches hold the same); the
same after a pause, since whoever is timed from outside has waited; and over and over on one set of tensors that is in the caches."""
PAUSE_S = 0.02
"""About as long as a program is kept from working while its inputs are written."""


ON_A_GPU = """
import json, sys, torch, protocol
from triton.testing import do_bench
source, line, blocks, _ = json.load(sys.stdin)
space = {}
exec(source, space)
run = protocol.decode_run(line.encode())
def tensors(specs):
    return [[torch.empty(s.shape, dtype=getattr(torch, s.dtype), device="cuda") for s in specs] for _ in range(run.slots)]
slots = list(zip(tensors(run.inputs), tensors(run.outputs)))
cache = torch.empty(4 * torch.cuda.get_device_properties(0).L2_cache_size, dtype=torch.uint8, device="cuda")
def through():
    for given, taken in slots:
        space["kernel"](*given, *taken)
fresh = []
for _ in range(blocks + 2):
    for given, taken in slots:
        for tensor in given:
            tensor.normal_()
        for tensor in taken:
            tensor.fill_(float("nan"))
    cache.zero_()
    torch.cuda.synchronize()
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    through()
    ended.record()
    torch.cuda.synchronize()
    fresh.append(begun.elapsed_time(ended) / 1e3 / run.slots)
hot = do_bench(lambda: space["kernel"](*slots[0][0], *slots[0][1]), return_mode="median") / 1e3
print(json.dumps({"fresh": min(fresh[2:]), "hot": hot}))
"""
"""The same between two CUDA events around each block, and by `triton.testing.do_bench`, which empties the cache before each launch."""

ON_PATH = os.pathsep.join((str(Path(protocol.__file__).parent), str(GUEST)))
"""Where the guest's own code lies, which makes addresses and tensors there as it does in a sandbox."""


def in_one_process(source: str, run: protocol.Run, blocks: int, device: Device) -> dict[str, float]:
    """Seconds of a launch in a process of its own under the same settings of threads and heap, best of some blocks.

    On a CPU by `timeit`, on `fresh` inputs, on fresh ones after a pause (`paused`) and on `hot` ones; on a GPU by events on fresh
    inputs, and by `do_bench` (`hot`).
    """
    program = IN_ONE_PROCESS if device == "cpu" else ON_A_GPU
    request = json.dumps([source, protocol.encode_run(run).decode(), blocks, PAUSE_S])
    settings = os.environ | ENVIRONMENT | {"PYTHONPATH": ON_PATH}
    done = subprocess.run(
        [sys.executable, "-c", program], input=request, capture_output=True, text=True, check=True, env=settings
    )
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds
