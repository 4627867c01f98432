"""Who works when it is not their turn: programs are frozen outside their turns, and their CPU time is read.

A program could make its rivals look slow instead of being quick: a thread that burns CPU, memory bandwidth or cache while
another program, or the reference, is being timed. So a sandbox is stopped (SIGSTOP, sent from outside, which nothing
inside can hold off) while others have their turn. What it does right after its own turn, when all its work should be done,
is read from the kernel's books, so that one that tries is caught and not only held. Linux only; where /proc hides a process or
signals may not be sent there is nothing to read or to stop, and nothing is claimed.

Processes that fork and end quicker than they can be looked up are not in the process table's picture, whoever reads it. The books of
the sandbox's control group (`sandboxes.cgroup`) have their time, so `clock.Program.cpu_seconds` asks those where there are any.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
STAT_BYTES = 4096
"""More than the line can have: some fifty numbers and a name of at most 64 bytes."""
AWAKE = b"R", b"S", b"I"
"""State letters of threads that have not yet taken a SIGSTOP. One that waits for a disk (D) takes it before it runs again."""
ENDED = b"Z", b"X"
FREEZE_S = 5.0
"""How long a process tree is given to stop, or to end once it is killed, before it counts as one that can't be: one that forks as fast as we look. Much longer than
any thread waits for a core, which it needs to take the signal."""
LOOK_AGAIN_S = 0.0005
"""How long we leave a core to those who have been told to stop."""


def peer_pid(connection: socket.socket) -> int | None:
    """Process id, as we see it, of the other end of a Unix socket; None when it isn't visible from here."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = int(struct.unpack("3i", credentials)[0])
    return pid or None


class Seen(NamedTuple):
    """What the kernel's books say of a process."""

    parent: int
    cpu_s: float
    """User and system, with reaped children."""
    faults: int
    """Pages that it touched for the first time."""


NOBODY = Seen(0, 0.0, 0)


class Unstoppable(Exception):
    """Its processes go on running, or starting others."""


def _processes() -> dict[int, Seen]:
    """Every process by its id."""
    found = {}
    for name in os.listdir(PROC):
        if not name.isdecimal():
            continue
        try:
            fields = _stat(f"{PROC}/{name}/stat")
        except OSError:  # It ended between the listing and the reading.
            continue
        found[int(name)] = Seen(int(fields[1]), sum(map(int, fields[11:15])) * TICK_S, int(fields[7]))
    return found


def _stat(path: str) -> list[bytes]:
    """What `stat` says of a process or thread, from its state on. Read by the hundred for each block, so without Python's layers.

    The command's name may hold spaces and brackets; what we want comes after the last of these.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(file, STAT_BYTES)
    finally:
        os.close(file)
    return text[text.rindex(b")") + 2 :].split()


def sandbox_root(guest: int) -> int | None:
    """The supervisor that started a guest; None when it isn't visible. It adopts what the guest leaves behind, so what is
    below it is the whole sandbox."""  # fmt: skip
    parent = _processes().get(guest, NOBODY).parent
    return None if parent in (0, 1, os.getpid()) else parent


def _tree(root: int, processes: dict[int, Seen]) -> set[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for pid, seen in processes.items():
        children.setdefault(seen.parent, []).append(pid)
    found, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        if pid in processes and pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def cpu_seconds(roots: Iterable[int]) -> dict[int, float]:
    """CPU time so far, in seconds, of the process tree under each root; a root that is gone is left out."""
    return _summed(roots, lambda seen: seen.cpu_s)


def page_faults(roots: Iterable[int]) -> dict[int, float]:
    """Pages that the process tree under each root touched for the first time; a root that is gone is left out."""
    return _summed(roots, lambda seen: seen.faults)


def _summed(roots: Iterable[int], what: Callable[[Seen], float]) -> dict[int, float]:
    processes = _processes()
    return {
        root: sum(what(processes[pid]) for pid in _tree(root, processes)) for root in roots if root in processes
    }  # fmt: skip


def freeze(root: int) -> list[int] | None:
    """Stop everything below a sandbox's supervisor; returns what that is, or None when something can't be stopped by us.

    Looked at again until nothing new was found running, because a process may fork while its siblings are being stopped. Raises
    Unstoppable where there is no end to that.
    """
    told: set[int] = set()
    until = time.monotonic() + FREEZE_S
    while time.monotonic() < until:
        below = _tree(root, _processes()) - {root}
        awake = {pid for pid in below if pid not in told or _awake(pid)}
        if not awake:
            return sorted(below)
        if not _signal(awake, signal.SIGSTOP):
            return None
        if awake <= told:
            time.sleep(LOOK_AGAIN_S)
        told |= awake
    raise Unstoppable


def _states(pid: int) -> list[bytes]:
    """The state letter of each thread: of a process only its first thread's is told, and that one may have ended before the others."""
    return [_stat(f"{PROC}/{pid}/task/{thread}/stat")[0] for thread in os.listdir(f"{PROC}/{pid}/task")]


def _awake(pid: int) -> bool:
    """Whether any thread could run."""
    try:
        return any(state in AWAKE for state in _states(pid))
    except OSError:  # It ended meanwhile, or a thread of it did: the next look will tell.
        return (PROC / str(pid)).exists()


def _runs(pid: int) -> bool:
    """Whether any thread of it has not ended, whatever it waits for."""
    try:
        return any(state not in ENDED for state in _states(pid))
    except OSError:
        return (PROC / str(pid)).exists()


def thaw(pids: Iterable[int]) -> None:
    """Let go on what `freeze` stopped. Quick: nothing is looked up, because what is stopped can't have forked."""
    _signal(pids, signal.SIGCONT)


def kill(root: int, but: int | None = None) -> None:
    """End everything below a sandbox's supervisor, frozen or not, except one process, and see that it has ended.

    Who is killed runs no line of its own any more, but it needs a core to end, which may take a moment.
    """
    doomed = _tree(root, _processes()) - {root, but}
    _signal(doomed, signal.SIGKILL)
    until = time.monotonic() + FREEZE_S
    while any(map(_runs, doomed)) and time.monotonic() < until:
        time.sleep(LOOK_AGAIN_S)


def only_child(pid: int) -> int | None:
    """The process that this one started; None when there is none or several."""
    children = [child for child, seen in _processes().items() if seen.parent == pid]
    return children[0] if len(children) == 1 else None


def _signal(pids: Iterable[int], number: signal.Signals) -> bool:
    allowed = True
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        except PermissionError:
            allowed = False
    return allowed
