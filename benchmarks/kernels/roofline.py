"""The time that no program can beat on this device: bytes over bandwidth, operations over rate, both measured here.

Williams, Waterman and Patterson 2009. Measuring is risky in one direction: a device that is busy while it is measured
looks slow, its floor rises, and an honest program becomes a suspect. So each rate is the best of many tries made before and after the
blocks, a try that didn't get its cores is thrown away, the best is multiplied by `MARGIN`, and where no try counts only the
bound on any CPU's rate (`problem.peak_flops`) holds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from benchmarks.kernels.problem import Shape, peak_flops

MARGIN = 2.0
"""A floor is this many times below what was measured. Our products and copies reach about 80 to 95 % of what such a core can do;
the rest is for a machine that was busy, for Strassen's saving (one eighth a level) and for the wider unit of a narrower dtype."""
TRIES = 5
LEAST_BYTES = 1024 * 1024
"""Smaller data can sit in a core's own cache, whose bandwidth can't be measured from Python: no floor by bytes then."""
SIZES = tuple(4**power * LEAST_BYTES for power in range(5))
"""Working sets that bandwidth is measured at, in bytes: 1 MiB to 256 MiB."""
PRODUCT = 512
"""Rows, columns and depth of the product that the rate is measured with."""
TRY_S = 0.005
"""A try takes at least so long, in seconds: waking the second thread is then a small part of it, and it counts as having had its cores."""
GOT_ITS_CORES = 0.9
"""Share of its threads' time that a try must have had on a core to count."""


def _seconds(work: Callable[[], object], threads: int) -> float | None:
    """How long a try took; None when something else had the cores for part of it."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return wall if cpu >= GOT_ITS_CORES * wall * threads or wall < 1e-3 else None


@dataclass
class Roofline:
    """Best rates seen so far on the CPU, in bytes and operations a second. Start empty, `measure` as often as you like."""

    threads: int
    narrowest: str
    """Dtype of the fastest product that the task's tolerance allows."""
    bandwidth: dict[int, float] = field(default_factory=dict)
    """By working set in bytes."""
    flops: float = 0.0
    """Of the fastest dtype measured."""
    measured: set[str] = field(default_factory=set)
    """Dtypes of the products that a rate was found for."""

    sizes: ClassVar[tuple[int, ...]] = SIZES
    least_bytes: ClassVar[int] = LEAST_BYTES

    def bound(self) -> float:
        """Operations a second that no such device does, measured or not."""
        return peak_flops(self.threads)

    def measure(self, largest: float, tries: int = TRIES) -> None:
        """Measure products and streams again, the streams up to the first size that holds `largest` bytes."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                for dtype in {"float32", self.narrowest}:
                    self._measure_product(getattr(torch, dtype), tries)
                for size in self.sizes:
                    self._measure_stream(size, tries)
                    if size >= largest:
                        break
        finally:
            torch.set_num_threads(before)

    def _measure_product(self, dtype: torch.dtype, tries: int) -> None:
        if dtype not in (torch.float32, torch.bfloat16, torch.float16):
            return  # Torch has no quick integer product on CPUs; the margin and the bound have to do.
        left, right = torch.ones(2, PRODUCT, PRODUCT).to(dtype).unbind()
        out = torch.empty_like(left)
        torch.matmul(left, right, out=out)
        begun = time.perf_counter()
        torch.matmul(left, right, out=out)
        repeats = max(4, math.ceil(TRY_S / (time.perf_counter() - begun)))
        for _ in range(tries):
            spent = _seconds(lambda: [torch.matmul(left, right, out=out) for _ in range(repeats)], self.threads)
            if spent:
                self.flops = max(self.flops, repeats * 2.0 * PRODUCT**3 / spent)
                self.measured.add(str(dtype).removeprefix("torch."))

    def _measure_stream(self, size: int, tries: int) -> None:
        half = torch.ones(size // 8)
        other = torch.ones_like(half)
        repeats = max(1, 16 * LEAST_BYTES // size)
        for _ in range(tries):
            copied = _seconds(lambda: [other.copy_(half) for _ in range(repeats)], self.threads)
            read = _seconds(lambda: [half.sum() for _ in range(repeats)], self.threads)
            for spent, moved in ((copied, size), (read, size // 2)):
                if spent:
                    self.bandwidth[size] = max(self.bandwidth.get(size, 0.0), repeats * moved / spent)

    def bandwidth_at(self, size: float) -> float:
        """Bytes a second of a working set: the best of all sizes from there up, or of the largest; infinite if unknown.

        What fits a cache streams faster than memory does, so a small shape must not be held to memory's bandwidth.
        """
        if size < self.least_bytes or not self.bandwidth:
            return math.inf
        # A set between two sizes may still fit the cache that the smaller one fits.
        fitting = [rate for measured, rate in self.bandwidth.items() if measured * 4 > size]
        return max(fitting or [self.bandwidth[max(self.bandwidth)]])

    def floor(self, shape: Shape) -> float:
        """Seconds of one launch that no program on this device stays under."""
        # Without a rate for the narrowest dtype nothing is known: on a CPU with tiles it is four times that of float32.
        rate = min(self.bound(), MARGIN * self.flops) if self.narrowest in self.measured else self.bound()
        return max(shape.flops / rate, shape.bytes / (MARGIN * self.bandwidth_at(shape.bytes)))
