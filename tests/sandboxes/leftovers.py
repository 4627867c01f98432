"""What sandboxes could leave behind of themselves, to be compared before and after."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil

from sandboxes import cgroup, lease
from sandboxes.base import SandboxFactory
from sandboxes.docker import DockerFactory


@dataclass(frozen=True)
class There:
    """Everything of this process, and nobody else's."""

    descriptors: int
    children: frozenset[int]
    threads: int
    containers: frozenset[str]
    groups: frozenset[str]
    folders: frozenset[str]


def what_is_there(factory: SandboxFactory) -> There:
    """Look now."""
    mine = psutil.Process()
    containers: set[str] = set()
    if isinstance(factory, DockerFactory):
        factory.client.api.close()  # Connections that it keeps for the next call; how many is a matter of chance.
        found = factory.client.api.containers(all=True, filters={"label": f"{lease.OWNER}={lease.me()}"})
        containers = {container["Id"] for container in found}
        factory.client.api.close()
    groups = {path.name for base in set(cgroup._bases().values()) for path in base.glob(f"{lease.me()}-*")}
    folders = {path.name for path in Path(tempfile.gettempdir()).glob(f"{lease.folder_prefix()}*")}
    return There(
        len(os.listdir("/proc/self/fd")),
        frozenset(child.pid for child in mine.children(recursive=True)),
        # asyncio's own for blocking calls come as they are needed, up to a bound, and stay.
        sum(not thread.name.startswith("asyncio") for thread in threading.enumerate()),
        *(frozenset(names) for names in (containers, groups, folders)),
    )
