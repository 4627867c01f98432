"""The driver's structures as our ctypes spell them, against the C compiler's view of NVIDIA's own header."""

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.kernels import vmm

MEMBERS = {
    "CUmemAllocationProp": (vmm.Properties, {
        "type": "type", "requestedHandleTypes": "handle_types", "location": "location", "win32HandleMetaData": "win32",
        "allocFlags.compressionType": "compression", "allocFlags.gpuDirectRDMACapable": "rdma",
        "allocFlags.usage": "usage", "allocFlags.reserved": "reserved",
    }),
    "CUmemAccessDesc": (vmm.Access, {"location": "location", "flags": "flags"}),
    "CUmemLocation": (vmm.Location, {"type": "type", "id": "id"}),
}  # fmt: skip
CONSTANTS = {
    "CU_MEM_ALLOCATION_TYPE_PINNED": vmm.PINNED,
    "CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR": vmm.POSIX_FD,
    "CU_MEM_LOCATION_TYPE_DEVICE": vmm.ON_DEVICE,
    "CU_MEM_ACCESS_FLAGS_PROT_READWRITE": vmm.READ_WRITE,
}


def header():
    """The folder of a `cuda.h`, which Triton brings along."""
    spec = importlib.util.find_spec("triton")
    folder = Path(spec.origin).parent / "backends" / "nvidia" / "include" if spec and spec.origin else None
    if folder is None or not (folder / "cuda.h").is_file() or not shutil.which("cc"):
        pytest.skip("needs a C compiler and the cuda.h that comes with triton")
    return folder


def test_layouts_and_constants_are_those_of_the_header(tmp_path):
    asked = [f"sizeof({name})" for name in MEMBERS]
    wanted = [ctypes.sizeof(ours) for ours, _ in MEMBERS.values()]
    for name, (ours, members) in MEMBERS.items():
        asked += [f"offsetof({name}, {theirs})" for theirs in members]
        wanted += [getattr(ours, mine).offset for mine in members.values()]
    asked += CONSTANTS
    wanted += CONSTANTS.values()
    prints = "".join(f'printf("%ld\\n", (long)({what}));' for what in asked)
    source = f"#include <stddef.h>\n#include <stdio.h>\n#include <cuda.h>\nint main(void) {{ {prints} return 0; }}\n"
    (tmp_path / "ask.c").write_text(source)
    subprocess.run(["cc", f"-I{header()}", "-o", tmp_path / "ask", tmp_path / "ask.c"], check=True)
    said = subprocess.run([tmp_path / "ask"], capture_output=True, text=True, check=True).stdout.split()
    assert dict(zip(asked, map(int, said), strict=True)) == dict(zip(asked, wanted, strict=True))


def test_calls_name_what_the_header_declares():
    text = (header() / "cuda.h").read_text()
    for name, arguments in vmm.SIGNATURES.items():
        declared = text.split(f"CUDAAPI {name}(", 1)[1].split(")", 1)[0]
        count = 0 if declared.strip() == "void" else declared.count(",") + 1
        assert count == len(arguments), name


def test_without_a_driver_there_is_no_silence():
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a driver here")
    with pytest.raises(OSError, match="libcuda"):
        vmm.Driver()
