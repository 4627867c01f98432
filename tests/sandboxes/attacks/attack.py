"""What an attack is: the program of a hostile candidate, and what must come of it.

A program prints `ESCAPED: <what>` when it got something that it must not have. Every program is given the prelude
below (system calls by name, the host's baits) and, so that an attack that fell over by a mistake of ours is not taken
for one that was repelled, it must get as far as printing `TRIED`, unless it declares another end.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import Literal

from sandboxes.seccomp import REFUSED

Cause = Literal["refused", "oom", "timed_out", "flooded", "killed", "died", "failed"]
"""refused: the program ran to its end; killed: a signal ended it; died: the sandbox ended with it; failed: an error
of its own, for want of a resource, ended it. The others are fields of `ExecResult`."""

SECRET = "RATCHET-SECRET-"
"""Every secret that the tests leave on the host starts with this, so that a program can look for it without one."""

_MORE_CALLS = {
    "x86_64": {"socket": 41, "capset": 126, "mknodat": 259, "ioprio_set": 251, "setuid": 105, "setgroups": 116,
               "sched_setattr": 314, "prlimit64": 302, "setpriority": 141, "ioctl": 16, "pidfd_getfd": 438,
               "memfd_create": 319, "clone": 56, "mlockall": 151, "mq_open": 240, "shmget": 29, "shmat": 30,
               "modify_ldt": 154, "pidfd_open": 434, "fsmount": 432, "clone3": 435, "listmount": 458, "statmount": 457,
               "open_tree_attr": 467, "mbind": 237, "migrate_pages": 256, "process_madvise": 440, "quotactl_fd": 443,
               "fanotify_mark": 301, "rt_sigqueueinfo": 129, "kill": 62, "lookup_dcookie": 212},
    "aarch64": {"socket": 198, "capset": 91, "mknodat": 33, "ioprio_set": 30, "setuid": 146, "setgroups": 159,
                "sched_setattr": 274, "prlimit64": 261, "setpriority": 140, "ioctl": 29, "pidfd_getfd": 438,
                "memfd_create": 279, "clone": 220, "mlockall": 230, "mq_open": 180, "shmget": 194, "shmat": 196,
                "pidfd_open": 434, "fsmount": 432, "clone3": 435, "listmount": 458, "statmount": 457,
                "open_tree_attr": 467, "mbind": 235, "migrate_pages": 238, "process_madvise": 440, "quotactl_fd": 443,
                "fanotify_mark": 263, "rt_sigqueueinfo": 138, "kill": 129, "lookup_dcookie": 18},
}  # fmt: skip
_CALLS = {machine: {**REFUSED[machine], **more} for machine, more in _MORE_CALLS.items()}

PRELUDE = f"""\
import ctypes, errno, glob, json, mmap, os, resource, signal, socket, stat, struct, subprocess, sys, threading, time
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
NR = {_CALLS!r}[os.uname().machine]
SECRET = {SECRET!r}
try:
    BAIT = json.load(open("/scratch/bait.json"))
except OSError:
    BAIT = {{}}

def escaped(what):
    print("ESCAPED:", what, flush=True)

def call(name, *arguments):
    "One system call by name: its value and its errno."
    ctypes.set_errno(0)
    number = NR.get(name, -1) if isinstance(name, str) else name
    value = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(x) if isinstance(x, int) else x for x in arguments))
    return value, ctypes.get_errno() if value == -1 else 0

def must_refuse(name, *arguments):
    "The arguments make no sense: whoever complains of them, instead of refusing the call, has let it through."
    value, error = call(name, *arguments)
    if value != -1 or error not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        escaped(f"{{name}} got through: {{value}}, {{errno.errorcode.get(error, error)}}")

def must_not_open(*places, flags=os.O_RDONLY):
    for place in places:
        try:
            fd = os.open(place, flags | os.O_NONBLOCK)
        except OSError:
            continue
        if stat.S_ISCHR(os.fstat(fd).st_mode) and os.fstat(fd).st_rdev == os.makedev(1, 3):
            continue  # Masked with /dev/null.
        escaped(f"opened {{place}}")

def read(place, count=1 << 20):
    try:
        with open(place, "rb") as file:
            return file.read(count)
    except OSError:
        return b""

"""


@dataclass(frozen=True)
class Attack:
    """One hostile program. `forbidden` says what it must not have got."""

    name: str
    area: str
    about: str
    forbidden: str
    body: str
    expect: tuple[Cause, ...] = ("refused",)
    """The ways in which it may end; anything else is a failure."""
    wall_s: float = 2.0
    fresh: bool = False
    """It gets a sandbox of its own, because it spends a resource or may take the sandbox down."""
    get: str = ""
    """A path that the evaluator then asks for, and that must be refused."""
    put: str = ""
    """A path that the evaluator then writes to, which must come back (refused or done), and not hang."""

    @property
    def program(self) -> str:
        """The whole program as it is put into the sandbox."""
        return PRELUDE + dedent(self.body) + '\nprint("TRIED", flush=True)\n'
