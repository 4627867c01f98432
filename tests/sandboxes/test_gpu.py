"""A GPU goes in only where one was asked for; who asks in vain is told what to do."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.errors import APIError

from sandboxes import gpu
from sandboxes.base import MIB, Limits, SandboxFactory, UserError
from sandboxes.session import Session, open_session
from tests.sandboxes.conftest import IMAGE, SMALL

pytestmark = pytest.mark.sandbox
LIST = """
import os
for folder, _, files in os.walk("/dev"):
    for name in files:
        print(os.path.join(folder, name))
print("driver", os.path.exists("/opt/nvidia"), "LD_LIBRARY_PATH" in os.environ, "NVIDIA_VISIBLE_DEVICES" in os.environ)
"""
GPU_NODES = ("nvidia", "dri", "kfd", "accel", "mali", "renderD", "card", "dxg", "nvhost", "nvmap")


def run(box: Session, program: str) -> str:
    box.put("/scratch/program.py", program.encode())
    result = box.exec(["python3", "/scratch/program.py"])
    assert result.succeeded, result
    return result.stdout.decode()


@pytest.fixture
def node_on_the_host() -> Iterator[str]:
    """A GPU's device node in the host's /dev for the time of the test, with or without a GPU behind it."""
    if os.geteuid() != 0:
        pytest.skip("making a device node takes root")
    path = "/dev/nvidia77"
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(195, 77))
    try:
        yield path
    finally:
        os.unlink(path)


def test_who_asks_for_none_sees_none(factory: SandboxFactory, node_on_the_host: str) -> None:
    assert Path(node_on_the_host) in gpu.nodes()
    with open_session(factory, IMAGE, SMALL) as box:
        *found, last = run(box, LIST).splitlines()
    assert not [path for path in found if any(word in path for word in GPU_NODES)]
    assert "/dev/null" in found
    assert last == "driver False False False"


@pytest.mark.skipif(bool(gpu.nodes()), reason="there is a GPU here")
def test_who_asks_in_vain_is_told_what_to_do(factory: SandboxFactory) -> None:
    hints = {"docker": "nvidia-ctk runtime configure", "bubblewrap": "nvidia-smi"}
    with pytest.raises(UserError, match=hints[factory.name]), open_session(factory, IMAGE, SMALL.with_(gpus=1)):
        pass
    with open_session(factory, IMAGE, SMALL) as box:
        assert run(box, "print('fine')") == "fine\n"


def test_only_the_nodes_of_gpus_are_taken_for_gpus(tmp_path: Path) -> None:
    for name in ("nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "nvidia2x", "null"):
        (tmp_path / name).touch()
    assert [path.name for path in gpu.nodes(tmp_path)] == ["nvidia2", "nvidia10"]


def test_none_asked_for_is_nothing_on_the_command_line(tmp_path: Path) -> None:
    assert gpu.binds(0, tmp_path) == gpu.request(0) == []


@pytest.mark.parametrize(
    ("there", "said"),
    [([], "shows 0"), (["nvidia0", "nvidiactl", "nvidia-uvm"], "shows 1"),
     (["nvidia0", "nvidia1", "nvidiactl"], "no nvidia-uvm in /dev")],
)  # fmt: skip
def test_too_few_gpus_or_half_a_driver(tmp_path: Path, there: list[str], said: str) -> None:
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=said):
        gpu.binds(2, tmp_path)


def test_the_drivers_libraries_are_found_by_either_name(tmp_path: Path) -> None:
    for name in ("libcuda.so.550.1", "libnvidia-ml.so.550.1"):
        (tmp_path / name).touch()
        (tmp_path / name.replace("550.1", "1")).symlink_to(name)
    known = [
        "120 libs found in cache `/etc/ld.so.cache'",
        f"\tlibcuda.so.1 (libc6,x86-64) => {tmp_path}/libcuda.so.1",
        f"\tlibcuda.so.1 (libc6) => {tmp_path}/32/libcuda.so.1",
        f"\tlibnvidia-ml.so.1 (libc6,x86-64) => {tmp_path}/libnvidia-ml.so.1",
        f"\tlibcudart.so.12 (libc6,x86-64) => {tmp_path}/libcudart.so.12",
        f"\tlibc.so.6 (libc6,x86-64) => {tmp_path}/libc.so.6",
    ]
    found = gpu.driver_libraries(known)
    assert {name: path.name for name, path in found.items()} == {
        "libcuda.so.1": "libcuda.so.550.1", "libcuda.so.550.1": "libcuda.so.550.1",
        "libnvidia-ml.so.1": "libnvidia-ml.so.550.1", "libnvidia-ml.so.550.1": "libnvidia-ml.so.550.1",
    }  # fmt: skip


def test_an_engines_refusal_is_known_by_what_it_says() -> None:
    refused = APIError('could not select device driver "" with capabilities: [[gpu compute utility]]')
    assert isinstance(gpu.refusal(refused), UserError)
    assert gpu.refusal(APIError("no such container")) is None


CUDA = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
assert cuda.cuInit(0) == 0
count, free, total, context = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_size_t(), ctypes.c_void_p()
assert cuda.cuDeviceGetCount(ctypes.byref(count)) == 0
assert cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
assert cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
print(count.value, total.value > 0)
"""


@pytest.mark.gpu
def test_a_gpu_that_was_asked_for_computes(factory: SandboxFactory) -> None:
    with open_session(factory, IMAGE, Limits(memory_bytes=2048 * MIB, gpus=1)) as box:
        assert run(box, CUDA) == "1 True\n"
