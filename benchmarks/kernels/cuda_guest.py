"""The guest's device memory and clock, copied into the sandbox where the kernels run on a GPU.

Same form as `HostMemory` and `HostClock` in `guest.py`.
"""

import torch
import vmm


class CudaMemory:
    """Device addresses for one memory: tensors are made once, and the memory of each block is mapped beneath them.

    The driver has no notion of sealed memory: inputs can be written here, and the evaluator looks afterwards.
    """

    lasting = False
    driver = None

    def __init__(self, size, writable):
        torch.cuda.init()
        torch.empty(1, device="cuda")  # Makes the context current in this thread.
        CudaMemory.driver = CudaMemory.driver or vmm.Driver()
        self.addresses = vmm.Addresses(self.driver, size, torch.cuda.current_device())
        # Torch asks the driver what it is that lies at an address, so something has to be there while it looks.
        handle, descriptor = self.driver.create(self.addresses.size, torch.cuda.current_device())
        self.addresses.map(handle)
        vmm.os.close(descriptor)
        self.bytes = torch.as_tensor(self.addresses, device="cuda")
        self.addresses.unmap()

    def tensor(self, spec, offset):
        """One tensor at its place; there is memory between `map` and `unmap`."""
        part = self.bytes[offset : offset + spec.bytes]
        return part.view(getattr(torch, spec.dtype)).view(spec.shape)

    def map(self, handle):
        """Map memory beneath the tensors."""
        self.addresses.map(self.driver.take(handle))

    def touch(self, size):
        """Nothing to do: a device has no page faults here."""

    def unmap(self):
        """Take the memory away and keep the addresses; nothing stays behind in the cache as persisting."""
        torch.cuda.synchronize()
        self.addresses.unmap()
        self.driver.reset_persisting_l2()


class CudaClock:
    """Nanoseconds between two events on the current stream, all streams finished. Advice, as any clock in here."""

    def start(self):
        """The first instant."""
        self.begun = torch.cuda.Event(enable_timing=True)
        self.ended = torch.cuda.Event(enable_timing=True)
        self.begun.record()

    def stop(self):
        """Nanoseconds since the first instant."""
        self.ended.record()
        torch.cuda.synchronize()
        return self.begun.elapsed_time(self.ended) * 1e6
