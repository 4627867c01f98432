"""Pass a GPU in, for a task that asks for one (`Limits.gpus`). Whoever asks for none sees none.

Docker leaves it to NVIDIA's container toolkit. Bubblewrap gets the device nodes, and the driver's libraries read-only:
they belong to the host's kernel module, so an image can't carry them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import docker

from sandboxes.base import UserError

DEV = Path("/dev")
CONTROL = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
"""Nodes that every CUDA program opens beside the GPU's own; the last one only some do."""
LIBRARIES = "/opt/nvidia/lib"
"""Where the driver's libraries are shown in a bubblewrap sandbox."""
DRIVER = re.compile(r"^lib(cuda|cudadebugger|nvidia-[a-z0-9-]+)\.so(\.[0-9]+)*$")
NONE_HERE = (
    "this task needs {wanted} NVIDIA GPU(s) and this machine shows {have}; run it on a machine with that many and a "
    "working driver (`nvidia-smi` lists them)"
)
NO_TOOLKIT = (
    "the Docker engine can't pass a GPU in; install the NVIDIA container toolkit, run `nvidia-ctk runtime configure "
    "--runtime=docker`, and restart the engine"
)


def nodes(dev: Path = DEV) -> list[Path]:
    """The device nodes of the GPUs themselves, in their order."""
    numbers = (re.fullmatch(r"nvidia(\d+)", path.name) for path in dev.glob("nvidia*"))
    return [dev / found[0] for found in sorted((n for n in numbers if n), key=lambda n: int(n[1]))]


def request(count: int) -> list[docker.types.DeviceRequest]:
    """What Docker is asked for: `count` GPUs, for computing and for being asked about; nothing for none."""
    if count == 0:
        return []
    return [docker.types.DeviceRequest(count=count, capabilities=[["gpu", "compute", "utility"]])]


def refusal(error: Exception) -> UserError | None:
    """The user's mistake behind an engine's error, when it is about a GPU that it could not pass in."""
    said = str(error).lower()
    if "could not select device driver" in said or "nvidia-container-cli" in said or "unresolvable cdi" in said:
        return UserError(NO_TOOLKIT)
    return None


def binds(count: int, dev: Path = DEV) -> list[str]:
    """Arguments of `bwrap` that show `count` GPUs and the driver's libraries. Raises UserError when they aren't here."""
    if count == 0:
        return []
    found = nodes(dev)
    missing = [name for name in CONTROL[:2] if not (dev / name).exists()]
    if len(found) < count or missing:
        have = f"{len(found)}" if len(found) < count else f"no {missing[0]} in /dev"
        raise UserError(NONE_HERE.format(wanted=count, have=have))
    libraries = driver_libraries(_known_libraries())
    if "libcuda.so.1" not in libraries:
        raise UserError("the NVIDIA driver's libcuda.so.1 is not installed here (or `ldconfig` does not know it)")
    line: list[str] = []
    for node in (*found[:count], *(dev / name for name in CONTROL)):
        line += ["--dev-bind-try", str(node), f"/dev/{node.name}"]
    for name, path in sorted(libraries.items()):
        line += ["--ro-bind", str(path), f"{LIBRARIES}/{name}"]
    return line


def _known_libraries() -> list[str]:
    """What the host's loader knows, a library a line: `libcuda.so.1 (libc6,x86-64) => /usr/lib/…/libcuda.so.1`."""
    line = ["/sbin/ldconfig", "-p"]
    return subprocess.run(line, capture_output=True, text=True, check=False).stdout.splitlines()


def driver_libraries(known: Iterable[str]) -> dict[str, Path]:
    """The driver's 64-bit libraries by file name, out of the lines of `ldconfig -p`; both a library's short name and
    the one with the driver's version, because they load each other by either."""
    found: dict[str, Path] = {}
    for line in known:
        name, _, place = line.strip().partition(" => ")
        soname, _, kind = name.partition(" ")
        if DRIVER.match(soname) and "64" in kind and soname not in found:
            path = Path(place).resolve()
            found[soname] = path
            found.setdefault(path.name, path)
    return found
