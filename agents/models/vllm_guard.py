"""Runs a command as long as its own standard input is open, then ends the whole process group and what it left in memory.

vLLM is several processes, and they share memory in /dev/shm that outlives a process that was killed. This one is started
in a session of its own, in vLLM's environment, with the standard library only; however the controller dies, its end of the
pipe closes, and nothing is left behind.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 8.0
LOOK_S = 2.0
SHARED = ("/dev/shm/psm_", "/dev/shm/sem.mp-", "/dev/shm/torch_")


def main() -> int:
    """Exit with the command's code, or 0 when stdin ended first."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    seen: set[str] = set()
    try:
        while child.poll() is None:
            ready, _, _ = select.select([0], [], [], LOOK_S)
            if ready and not os.read(0, 4096):
                return 0
            seen |= shared_memory()
        os.write(2, b"the server ended with code %d\n" % child.returncode)
        return child.returncode
    finally:
        seen |= shared_memory()
        child.terminate()  # the server then ends its engine in good order
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
        deadline = time.monotonic() + GRACE_S
        while (others := members()) and time.monotonic() < deadline:
            for pid in others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for path in seen:
            Path(path).unlink(missing_ok=True)


def members() -> list[int]:
    """The other processes of this group that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(entry.name)
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if pid != os.getpid() and state != "Z" and os.getpgid(pid) == os.getpgid(0):
                found.append(pid)
    return found


def shared_memory() -> set[str]:
    """Files of this group's processes in /dev/shm."""
    found = set()
    for pid in members():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                path = line[line.find("/") :]
                if "/" in line and path.startswith(SHARED) and not path.endswith(" (deleted)"):
                    found.add(path)
    return found


if __name__ == "__main__":
    sys.exit(main())
