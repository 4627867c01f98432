"""CPU time of the sandboxes, read from the kernel's books outside them.

A program could make its rivals look slow instead of being quick: a thread that burns CPU while another program, or the
reference, is being timed. So every sandbox's CPU time is read between turns, and a program that works out of
turn is caught. Linux only; where /proc hides a process there is nothing to read and nothing is claimed.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def peer_pid(connection: socket.socket) -> int | None:
    """Process id, as we see it, of the other end of a Unix socket; None when it isn't visible from here."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid = int(struct.unpack("3i", credentials)[0])
    return pid or None


def _processes() -> dict[int, tuple[int, float]]:
    """Parent and CPU time (user and system, with reaped children, in seconds) of every process."""
    found = {}
    for name in os.listdir(PROC):
        if not name.isdecimal():
            continue
        try:
            text = (PROC / name / "stat").read_text(errors="replace")
        except OSError:  # It ended between the listing and the reading.
            continue
        # The command's name may hold spaces and brackets; the fields we want come after its last bracket.
        fields = text[text.rindex(")") + 2 :].split()
        found[int(name)] = (int(fields[1]), sum(map(int, fields[11:15])) * TICK_S)
    return found


def sandbox_root(guest: int) -> int:
    """The supervisor that started a guest. It adopts what the guest leaves behind, so its tree is the whole sandbox."""
    parent = _processes().get(guest, (0, 0.0))[0]
    return guest if parent in (0, 1, os.getpid()) else parent


def cpu_seconds(roots: Iterable[int]) -> dict[int, float]:
    """CPU time so far, in seconds, of the process tree under each root; a root that is gone is left out."""
    processes = _processes()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes.items():
        children.setdefault(parent, []).append(pid)

    def tree(pid: int) -> float:
        return processes[pid][1] + sum(tree(child) for child in children.get(pid, []))

    return {root: tree(root) for root in roots if root in processes}
