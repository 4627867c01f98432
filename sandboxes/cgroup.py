"""Control groups, version 1 and 2: bound a process tree, and read whether the kernel killed in it for memory.

Docker makes its own groups; we only read them. For bubblewrap we make them, which takes root (or a delegated group).
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from sandboxes import lease
from sandboxes.base import Limits

ROOT = Path("/sys/fs/cgroup")
PARENT = "ratchet"


def is_v2() -> bool:
    """True when the machine has the unified hierarchy only."""
    return (ROOT / "cgroup.controllers").exists()


def _bases() -> dict[str, Path]:
    """Folder of each controller that we use."""
    if is_v2():
        return dict.fromkeys(("memory", "pids", "cpu"), ROOT / PARENT)
    return {name: ROOT / name / PARENT for name in ("memory", "pids", "cpu")}


def available() -> bool:
    """True when we may make groups with memory, process and CPU bounds here."""
    try:
        for base in set(_bases().values()):
            base.mkdir(exist_ok=True)
            if not os.access(base, os.W_OK):  # Made by root, and we are not.
                return False
        if is_v2():
            for folder in (ROOT, ROOT / PARENT):
                (folder / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    except OSError:
        return False
    return True


class Group:
    """One sandbox's control group. `joining` lists the files that a process writes its pid to."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.folders = {controller: base / name for controller, base in _bases().items()}
        for folder in set(self.folders.values()):
            folder.mkdir(parents=True)
        period = 100_000
        quota = int(limits.cpus * period)
        if is_v2():
            self._set("memory", "memory.max", limits.memory_bytes)
            self._set("memory", "memory.swap.max", 0, optional=True)
            self._set("cpu", "cpu.max", f"{quota} {period}")
        else:
            self._set("memory", "memory.limit_in_bytes", limits.memory_bytes)
            self._set("memory", "memory.memsw.limit_in_bytes", limits.memory_bytes, optional=True)
            self._set("memory", "memory.swappiness", 0, optional=True)
            self._set("cpu", "cpu.cfs_period_us", period)
            self._set("cpu", "cpu.cfs_quota_us", quota)
        self._set("pids", "pids.max", limits.pids)

    def _set(self, controller: str, file: str, value: object, *, optional: bool = False) -> None:
        try:
            (self.folders[controller] / file).write_text(str(value))
        except OSError:
            if not optional:  # Swap files are missing on kernels without swap accounting: then there is no swap to use.
                raise

    @property
    def joining(self) -> list[Path]:
        """The files a process writes its pid to before it becomes the sandbox."""
        return sorted({folder / "cgroup.procs" for folder in self.folders.values()})

    def oom_kills(self) -> int:
        """Processes of this group that the kernel has killed for memory."""
        return _oom_kills_in(self.folders["memory"])

    def remove(self) -> None:
        """Kill what is left in the group and remove it."""
        for _ in range(100):
            with contextlib.suppress(OSError):
                for line in (self.folders["memory"] / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(line), 9)
            for folder in set(self.folders.values()):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if not any(folder.exists() for folder in self.folders.values()):
                return
            time.sleep(0.01)


def _oom_kills_in(folder: Path) -> int:
    name = "memory.events" if (folder / "memory.events").exists() else "memory.oom_control"
    try:
        fields = dict(line.split() for line in (folder / name).read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("oom_kill", 0))


def memory_group_of(pid: int) -> Path | None:
    """Folder of the memory group that a process is in, or None when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" and is_v2():
            return ROOT / path.lstrip("/")
        if "memory" in controllers.split(","):
            return ROOT / "memory" / path.lstrip("/")
    return None


def oom_kills_at(folder: Path | None) -> int:
    """Processes that the kernel has killed for memory in the group at `folder`."""
    return _oom_kills_in(folder) if folder is not None else 0


def remove_orphans(*, everything: bool = False) -> list[str]:
    """Remove groups whose controller (named by its pid and start time in the group's name) is dead; returns names."""
    removed = []
    for base in set(_bases().values()):
        for folder in sorted(base.glob("*-*-*")) if base.exists() else []:
            pid, born, _ = folder.name.split("-", 2)
            if everything or not lease.alive(f"{pid}-{born}"):
                with contextlib.suppress(OSError):
                    for line in (folder / "cgroup.procs").read_text().split():
                        os.kill(int(line), 9)
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    removed.append(folder.name)
    return sorted(set(removed))
