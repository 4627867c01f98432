"""Device memory that two processes map: NVIDIA's virtual memory management, through the driver's C interface.

Both sides import this file, the evaluator as `benchmarks.kernels.vmm` and the guest as a copy beside it, so it needs
Python and `libcuda.so.1`, nothing else. An allocation is a file descriptor, which crosses the sandbox's wall over the same
socket as the descriptors of host memory; the older interface (`cudaIpcGetMemHandle`) gives away the whole block
of an allocator, with whatever else lies in it, and needs shared namespaces.

Struct layouts and calls: CUDA driver API, "Virtual Memory Management" (CUDA 10.2 and later). The calling thread must have a
current context; torch makes one.
"""

import ctypes
import os
from ctypes import POINTER, byref, c_int, c_size_t, c_uint, c_ulonglong, c_void_p

PINNED = 1
POSIX_FD = 1
ON_DEVICE = 1
READ_WRITE = 3


class Location(ctypes.Structure):
    """CUmemLocation."""

    _fields_ = [("type", c_int), ("id", c_int)]


class Properties(ctypes.Structure):
    """CUmemAllocationProp."""

    _fields_ = [
        ("type", c_int),
        ("handle_types", c_int),
        ("location", Location),
        ("win32", c_void_p),
        ("compression", ctypes.c_ubyte),
        ("rdma", ctypes.c_ubyte),
        ("usage", ctypes.c_ushort),
        ("reserved", ctypes.c_ubyte * 4),
    ]


class Access(ctypes.Structure):
    """CUmemAccessDesc."""

    _fields_ = [("location", Location), ("flags", c_int)]


SIGNATURES = {
    "cuMemGetAllocationGranularity": [POINTER(c_size_t), POINTER(Properties), c_uint],
    "cuMemCreate": [POINTER(c_ulonglong), c_size_t, POINTER(Properties), c_ulonglong],
    "cuMemExportToShareableHandle": [c_void_p, c_ulonglong, c_int, c_ulonglong],
    "cuMemImportFromShareableHandle": [POINTER(c_ulonglong), c_void_p, c_int],
    "cuMemAddressReserve": [POINTER(c_ulonglong), c_size_t, c_size_t, c_ulonglong, c_ulonglong],
    "cuMemAddressFree": [c_ulonglong, c_size_t],
    "cuMemMap": [c_ulonglong, c_size_t, c_size_t, c_ulonglong, c_ulonglong],
    "cuMemSetAccess": [c_ulonglong, c_size_t, POINTER(Access), c_size_t],
    "cuMemUnmap": [c_ulonglong, c_size_t],
    "cuMemRelease": [c_ulonglong],
    "cuCtxResetPersistingL2Cache": [],
}


class DriverError(RuntimeError):
    """A call into the driver failed; `code` is its CUresult (2 is out of memory)."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} failed with CUresult {code}")
        self.code = code


class Driver:
    """The calls above, as functions that raise DriverError. Raises OSError where there is no driver."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        for name, arguments in SIGNATURES.items():
            getattr(self._library, name).argtypes = arguments

    def call(self, name: str, *arguments: object) -> None:
        """Call one function of `SIGNATURES`."""
        code = getattr(self._library, name)(*arguments)
        if code:
            raise DriverError(name, code)

    def reset_persisting_l2(self) -> None:
        """Make every line of the L2 cache an ordinary one again."""
        self.call("cuCtxResetPersistingL2Cache")

    def properties(self, device: int) -> Properties:
        """Of memory on a device that can be handed over as a file descriptor."""
        return Properties(PINNED, POSIX_FD, Location(ON_DEVICE, device))

    def whole_pages(self, size: int, device: int) -> int:
        """`size` in bytes, rounded up to what the device maps in one piece (2 MiB on today's)."""
        page = c_size_t()
        self.call("cuMemGetAllocationGranularity", byref(page), byref(self.properties(device)), 0)
        return -(-size // page.value) * page.value

    def create(self, size: int, device: int) -> tuple[int, int]:
        """Allocate whole pages; returns the driver's handle and a file descriptor for another process."""
        handle, descriptor = c_ulonglong(), c_int(-1)
        self.call("cuMemCreate", byref(handle), size, byref(self.properties(device)), 0)
        try:
            self.call("cuMemExportToShareableHandle", byref(descriptor), handle, POSIX_FD, 0)
        except DriverError:
            self.call("cuMemRelease", handle)
            raise
        return handle.value, descriptor.value

    def take(self, descriptor: int) -> int:
        """The driver's handle of memory that another process made; closes the descriptor."""
        handle = c_ulonglong()
        try:
            # The interface wants the number itself where a pointer to a handle stands on other systems.
            self.call("cuMemImportFromShareableHandle", byref(handle), c_void_p(descriptor), POSIX_FD)
        finally:
            os.close(descriptor)
        return handle.value


class Addresses:
    """A range of device addresses, which keeps its place while memory comes and goes beneath it."""

    def __init__(self, driver: Driver, size: int, device: int) -> None:
        self._driver, self._device = driver, device
        self.size = driver.whole_pages(size, device)
        start = c_ulonglong()
        driver.call("cuMemAddressReserve", byref(start), self.size, 0, 0, 0)
        self.start: int = start.value

    def map(self, handle: int) -> None:
        """Put memory beneath the range, and let go of the handle: the map keeps the memory."""
        self._driver.call("cuMemMap", self.start, self.size, 0, handle, 0)
        self._driver.call("cuMemRelease", handle)
        access = Access(Location(ON_DEVICE, self._device), READ_WRITE)
        self._driver.call("cuMemSetAccess", self.start, self.size, byref(access), 1)

    def unmap(self) -> None:
        """Take the memory away."""
        self._driver.call("cuMemUnmap", self.start, self.size)

    def free(self) -> None:
        """Give the range back; nothing may be mapped to it."""
        self._driver.call("cuMemAddressFree", self.start, self.size)

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """The range as a vector of bytes, for `torch.as_tensor(self, device="cuda")`, which copies nothing."""
        return {"shape": (self.size,), "typestr": "|u1", "data": (self.start, False), "version": 3, "strides": None}
