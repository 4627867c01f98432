"""Control groups, version 1 and 2: bound a process tree, read whether the kernel killed in it for memory, and what time it took.

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
    names = ("memory", "pids", "cpu", "cpuacct", "cpuset")
    if is_v2():
        return dict.fromkeys(names, ROOT / PARENT)
    # Resolved, because some systems have one hierarchy for several controllers, under all their names.
    return {name: (ROOT / name).resolve() / PARENT for name in names}


def available() -> bool:
    """True when we may make groups with bounds on memory, processes, CPU time and cores here."""
    try:
        for base in set(_bases().values()):
            base.mkdir(exist_ok=True)
            if not os.access(base, os.W_OK):  # Made by root, and we are not.
                return False
        if is_v2():
            for folder in (ROOT, ROOT / PARENT):
                (folder / "cgroup.subtree_control").write_text("+memory +pids +cpu +cpuset")
        else:
            _inherit_cores(_bases()["cpuset"])
    except OSError:
        return False
    return True


def _inherit_cores(folder: Path) -> None:
    """In version 1 nobody may join a group before it has cores and memory nodes: give it those of its parent."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not (folder / file).read_text().strip():
            (folder / file).write_text((folder.parent / file).read_text())


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
            _inherit_cores(self.folders["cpuset"])
        self._set("pids", "pids.max", limits.pids + 1)  # One is `bwrap` itself, which waits in the group.
        if limits.cores:
            self._set("cpuset", "cpuset.cpus", ",".join(map(str, limits.cores)))

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

    def resident_bytes(self) -> int:
        """Bytes that this group's processes hold, tmpfs included."""
        return resident_at(self.folders["memory"])

    def remove(self) -> None:
        """Kill what is left in the group and remove it."""
        _remove(set(self.folders.values()))


def _remove(folders: set[Path]) -> bool:
    """Kill what is in a group (one folder a controller) and remove it; the dying take a moment. True when it is gone."""
    for _ in range(100):
        for folder in folders:
            with contextlib.suppress(OSError):
                for line in (folder / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(line), 9)
            with contextlib.suppress(OSError):
                folder.rmdir()
        if not any(folder.exists() for folder in folders):
            return True
        time.sleep(0.01)
    return False


def _oom_kills_in(folder: Path) -> int:
    name = "memory.events" if (folder / "memory.events").exists() else "memory.oom_control"
    try:
        fields = dict(line.split() for line in (folder / name).read_text().splitlines())
        return int(fields.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0


def group_of(pid: int, controller: str) -> Path | None:
    """Folder of the group that a process is in for one controller, or None when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    return group_in(lines, controller, v2=is_v2())


def group_in(lines: list[str], controller: str, *, v2: bool) -> Path | None:
    """The group that the lines of a `/proc/<pid>/cgroup` name; version 2 has one line for all controllers."""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" and v2:
            return ROOT / path.lstrip("/")
        if controller in controllers.split(","):
            return ROOT / controller / path.lstrip("/")
    return None


def account_of(pid: int) -> Path | None:
    """The group that books the CPU time of a process and of those it is alone with; None where that group is ours too."""
    found = group_of(pid, "cpuacct")
    return None if found == group_of(os.getpid(), "cpuacct") else found


def cpu_seconds_at(folder: Path) -> float | None:
    """CPU time that the processes of the group at `folder` have taken so far, also those that are gone; None if unknown."""
    try:
        if (folder / "cpuacct.usage").exists():
            return int((folder / "cpuacct.usage").read_text()) / 1e9
        fields = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6
    except (OSError, ValueError, KeyError):
        return None


def oom_kills_at(folder: Path | None) -> int:
    """Processes that the kernel has killed for memory in the group at `folder`."""
    return _oom_kills_in(folder) if folder is not None else 0


def remove_orphans(*, everything: bool = False) -> list[str]:
    """Remove groups whose controller (named by its pid and start time in the group's name) is dead; returns names."""
    found: dict[str, set[Path]] = {}
    for base in set(_bases().values()):
        for folder in base.glob("*-*-*") if base.exists() else []:
            pid, born, _ = folder.name.split("-", 2)
            if everything or not lease.alive(f"{pid}-{born}"):
                found.setdefault(folder.name, set()).add(folder)
    return [name for name, folders in sorted(found.items()) if _remove(folders)]


def resident_at(folder: Path | None) -> int:
    """Bytes that the processes of the group at `folder` hold, tmpfs included and other files' pages not; 0 if unknown."""
    try:
        fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines()) if folder else {}
    except (OSError, ValueError):
        return 0
    names = ("anon", "shmem") if "anon" in fields else ("total_rss", "total_shmem")
    return sum(int(fields.get(name, 0)) for name in names)
