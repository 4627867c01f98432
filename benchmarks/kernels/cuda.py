"""A GPU as a `target.Target`: device memory of ours in another process's hands, an idle device, its clocks on record.

Looking at the outputs needs no trust in the candidate's streams: our clock stops when words of ours, from all over the outputs, have
been read back, and what changes after that is seen when everything is copied. "Idle" is found out, not asked: a probe of ours that takes longer
than at its best shares the device with somebody. That finds kernels still queued on any stream of any process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels import vmm
from benchmarks.kernels.memory import GLANCE, checked, poison, view
from benchmarks.kernels.problem import Device, Tensors
from benchmarks.kernels.protocol import TensorSpec, placement
from benchmarks.kernels.roofline_cuda import CudaRoofline
from sandboxes.base import SandboxError, UserError

PROBE = 2048
"""Rows, columns and depth of the product that is the probe: some tens to hundreds of microseconds."""
PROBES = 40
"""Probes before a device counts as busy. They also let what was left queued run out."""
NEARLY = 0.2
"""How much slower than its best a probe may be on an idle device: clocks rise and fall."""
THROTTLED = 0x8 | 0x20 | 0x40 | 0x80
"""NVML's reasons: hardware slowdown, thermal slowdown by software or hardware, power brake. Not the power cap, which is normal."""
INDEX = 0
SHARE = 16
"""How often a block's inputs and outputs go into the device's memory. Beside them are their originals and copies, the answers in
float64, and what up to six frozen programs keep."""


def _created(driver: vmm.Driver, size: int) -> tuple[int, int]:
    """New memory; what torch keeps of ours for later is given back first, where it is in the way. Raises DriverError."""
    try:
        return driver.create(size, INDEX)
    except vmm.DriverError:
        torch.cuda.empty_cache()
        return driver.create(size, INDEX)


class Region:
    """Device memory of our own, mapped here, with a descriptor for one other process."""

    def __init__(self, driver: vmm.Driver, size: int) -> None:
        self._addresses = vmm.Addresses(driver, size, INDEX)
        try:
            memory, self.handle = _created(driver, self._addresses.size)
        except vmm.DriverError as error:
            self._addresses.free()
            raise SandboxError(f"no device memory for a block of {size >> 20} MiB: {error}") from error
        self._addresses.map(memory)
        self.bytes = torch.as_tensor(self._addresses, device="cuda")

    def close(self) -> None:
        """Unmap and close. A candidate that kept its own map keeps only that."""
        torch.cuda.synchronize()
        self.bytes = torch.empty(0, dtype=torch.uint8)
        self._addresses.unmap()
        self._addresses.free()
        os.close(self.handle)


class CudaInputs:
    """See `target.Inputs`. Device memory can't be sealed, so `unchanged` compares sums of words."""

    def __init__(self, driver: vmm.Driver, size: int) -> None:
        self._region = Region(driver, size)
        self._region.bytes.zero_()
        self.handle = self._region.handle
        self._places: list[tuple[Tensor, TensorSpec, int]] = []
        self._sum = 0

    def load(self, slots: Sequence[Tensors], specs: tuple[TensorSpec, ...]) -> None:
        """See `target.Inputs`."""
        self._places = [
            (checked(tensors[spec.name], spec), spec, places[spec.name])
            for tensors, places in zip(slots, placement(specs, len(slots))[0], strict=True)
            for spec in specs
        ]

    def fill(self) -> None:
        """See `target.Inputs`."""
        for tensor, spec, place in self._places:
            view(self._region.bytes, spec, place).copy_(tensor)
        self._sum = self._summed()

    def _summed(self) -> int:
        words = self._region.bytes.view(torch.int64)
        # Twice, once with places mixed in, so that exchanging words shows too. Overflow wraps, which is as good.
        places = torch.arange(1, 1025, device=words.device)
        return int(words.sum()) ^ int((words.view(-1, 1024) * places).sum())

    def unchanged(self) -> bool:
        """See `target.Inputs`."""
        return self._summed() == self._sum

    def close(self) -> None:
        """See `target.Inputs`."""
        self._region.close()


class CudaOutputs:
    """See `target.Outputs`."""

    def __init__(self, driver: vmm.Driver, size: int) -> None:
        self._region = Region(driver, size)
        self.handle = self._region.handle

    def lay_out(self, specs: tuple[TensorSpec, ...], slots: int) -> None:
        """See `target.Outputs`."""
        self._specs = specs
        self._offsets = placement(specs, slots)[0]
        self.poison()
        self._copy = torch.zeros_like(self._region.bytes)
        self._words = self._region.bytes.view(torch.int64)
        self._stride = max(1, len(self._words) // GLANCE)
        last = specs[-1]
        item = last.bytes // last.items
        middles = [places[last.name] + last.items // 2 * item for places in self._offsets]
        self._middles = torch.tensor([[at + i for i in range(item)] for at in middles], device="cuda")
        self._unwritten = self._region.bytes[self._middles]
        torch.cuda.synchronize()

    def poison(self) -> None:
        """See `target.Outputs`."""
        for places in self._offsets:
            for spec in self._specs:
                view(self._region.bytes, spec, places[spec.name]).fill_(poison(getattr(torch, spec.dtype)))

    def glance(self, start: int) -> Tensor:
        """See `target.Outputs`."""
        return self._words[start % self._stride :: self._stride].clone().cpu()

    def read(self) -> None:
        """See `target.Outputs`."""
        self._copy.copy_(self._region.bytes)
        torch.cuda.synchronize()

    def strayed(self) -> bool:
        """The region ends with the outputs: what is behind it can't be written."""
        return False

    def glance_of_copy(self, start: int) -> Tensor:
        """See `target.Outputs`."""
        return self._copy.view(torch.int64)[start % self._stride :: self._stride].clone().cpu()

    def started(self, slots: Sequence[int]) -> list[bool]:
        """See `target.Outputs`. One read has no order, so a slot that looks overtaken is read again, after the others."""
        some = list(slots)
        middles, unwritten = self._middles[some], self._unwritten[some]
        first, second = ((self._region.bytes[middles] != unwritten).any(1).cpu().tolist() for _ in range(2))
        overtaken = max((index for index, begun in enumerate(first) if begun), default=0)
        return [bool(second[i]) if i < overtaken else bool(begun) for i, begun in enumerate(first)]

    def slots(self) -> list[Tensors]:
        """See `target.Outputs`; views of the copy, which stays on the device."""
        return [{s.name: view(self._copy, s, places[s.name]) for s in self._specs} for places in self._offsets]

    def close(self) -> None:
        """See `target.Outputs`."""
        self._words = torch.empty(0, dtype=torch.int64)
        self._region.close()


class Cuda:
    """The first CUDA device as a `target.Target`. Raises UserError where there is none or it can't be asked."""

    name: Device = "cuda"
    lasting = False
    cores: tuple[int, ...] = ()

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise UserError("this build of torch finds no CUDA device; install one that does, on a machine with a GPU")
        try:
            import pynvml
        except ImportError:
            raise UserError("clocks are read with NVML; run `pip install nvidia-ml-py`") from None
        self._nvml: Any = pynvml
        pynvml.nvmlInit()
        self._device: Any = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(INDEX).uuid}")
        torch.cuda.set_device(INDEX)
        torch.cuda.init()  # type: ignore[no-untyped-call]
        self._left = torch.ones(PROBE, PROBE, device="cuda")
        self._flush = torch.empty(
            4 * torch.cuda.get_device_properties(INDEX).L2_cache_size, dtype=torch.uint8, device="cuda"
        )
        # Two milliseconds for what only moves bytes, at the four terabytes a second of an H200.
        self.block_bytes = min(8 * 2**30, torch.cuda.get_device_properties(INDEX).total_memory // SHARE)
        self._driver = vmm.Driver()
        self._best = min(self._probe() for _ in range(PROBES))

    def _probe(self) -> float:
        torch.cuda.synchronize()
        begun = time.perf_counter()
        torch.matmul(self._left, self._left)
        torch.cuda.synchronize()
        return time.perf_counter() - begun

    def inputs(self, size: int) -> CudaInputs:
        """See `target.Target`."""
        return CudaInputs(self._driver, size)

    def outputs(self, size: int) -> CudaOutputs:
        """See `target.Target`."""
        return CudaOutputs(self._driver, size)

    def settle(self) -> tuple[float, float]:
        """See `target.Target`. The last thing done is to fill the L2 cache with zeros of ours, none of them persisting."""
        first = slower = 0.0
        for number in range(PROBES):
            spent = self._probe()
            self._best = min(self._best, spent)
            slower = spent / self._best - 1
            # One slow probe is a clock that has to rise; the second one tells.
            first = slower if number == 1 else first
            if slower < NEARLY and number:
                break
        self._driver.reset_persisting_l2()
        self._flush.zero_()
        torch.cuda.synchronize()
        return first, slower

    def state(self) -> dict[str, float]:
        """See `target.Target`."""
        nvml, device = self._nvml, self._device
        reasons = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device))
        return {
            "sm_mhz": float(nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM)),
            "memory_mhz": float(nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_MEM)),
            "celsius": float(nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU)),
            "watts": nvml.nvmlDeviceGetPowerUsage(device) / 1000,
            "clock_reasons": float(reasons),
            "throttled": float(bool(reasons & THROTTLED)),
        }

    def roofline(self, narrowest: str) -> CudaRoofline:
        """See `target.Target`."""
        return CudaRoofline(1, narrowest)

    def guest_files(self) -> tuple[str, ...]:
        """See `target.Target`."""
        return "cuda_guest.py", "vmm.py"
