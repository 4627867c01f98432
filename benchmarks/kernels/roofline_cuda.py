"""The roofline's rates measured on a GPU. Same form and same care as `roofline.py`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.kernels.roofline import Roofline

PRODUCT = 8192
BOUND_FLOPS = 1e17
"""Operations a second that no GPU reaches today: five times the four-bit rate of the widest."""
REPEATS = 10
MIB = 1024 * 1024


class CudaRoofline(Roofline):
    """Rates of the current CUDA device. Events time it: nobody but us runs in this process."""

    sizes = tuple(4**power * 16 * MIB for power in range(5))
    """16 MiB, which any L2 cache of today holds, to 4 GiB."""
    least_bytes = 16 * MIB

    def bound(self) -> float:
        """See `Roofline.bound`."""
        return BOUND_FLOPS

    def _seconds(self, work: Callable[[], object]) -> float:
        """Of one call, the best clock the device had for it: launched ten times between two events."""
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        work()
        begun.record()
        for _ in range(REPEATS):
            work()
        ended.record()
        torch.cuda.synchronize()
        return float(begun.elapsed_time(ended)) / 1e3 / REPEATS

    def _measure_product(self, dtype: torch.dtype, tries: int) -> None:
        # Torch has no plain product of int8; tensor cores do it twice as fast as in bfloat16.
        able, times = (torch.bfloat16, 2) if dtype == torch.int8 else (dtype, 1)
        left = torch.ones(PRODUCT, PRODUCT, device="cuda", dtype=able)
        torch.backends.cuda.matmul.allow_tf32 = True  # A candidate may use it too.
        for _ in range(tries):
            rate = times * 2.0 * PRODUCT**3 / self._seconds(lambda: torch.matmul(left, left))
            self.flops = max(self.flops, rate)
        self.measured.add(str(dtype).removeprefix("torch."))

    def _measure_stream(self, size: int, tries: int) -> None:
        if size > torch.cuda.mem_get_info()[0] // 2:
            return
        half = torch.ones(size // 8, device="cuda")
        other = torch.ones_like(half)
        for _ in range(tries):
            copied = size / self._seconds(lambda: other.copy_(half))
            read = size / 2 / self._seconds(lambda: half.sum())
            self.bandwidth[size] = max(self.bandwidth.get(size, 0.0), copied, read)
