"""A system-call filter for bubblewrap, assembled here so that no library and no build step stands in the boundary.

Docker brings its own profile (an allow list). Bubblewrap brings none, so this is a deny list of what a numerical
program never needs and an escape often does. Refused calls fail with EPERM; `clone3` fails with ENOSYS so that the C
library falls back to `clone`, whose flags can be inspected (the filter can't follow clone3's pointer).
"""

from __future__ import annotations

import errno
import platform
import struct

from sandboxes.base import SandboxError

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NR, ARCH, ARG0 = 0, 4, 16
X32_BIT = 0x40000000
NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X86 = {
    "ptrace": 101, "syslog": 103, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169,
    "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176,
    "quotactl": 179, "pivot_root": 155, "chroot": 161, "acct": 163, "settimeofday": 164, "clock_adjtime": 305,
    "adjtimex": 159, "clock_settime": 227, "add_key": 248, "request_key": 249, "keyctl": 250, "move_pages": 279,
    "unshare": 272, "vmsplice": 278, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
    "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "finit_module": 313, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323, "kexec_load": 246,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "personality": 135,
}  # fmt: skip
_ARM = {
    "ptrace": 117, "syslog": 116, "mount": 40, "umount2": 39, "swapon": 224, "swapoff": 225, "reboot": 142,
    "sethostname": 161, "setdomainname": 162, "init_module": 105, "delete_module": 106, "quotactl": 60,
    "pivot_root": 41, "chroot": 51, "acct": 89, "settimeofday": 170, "clock_adjtime": 266, "adjtimex": 171,
    "clock_settime": 112, "add_key": 217, "request_key": 218, "keyctl": 219, "move_pages": 239, "unshare": 97,
    "vmsplice": 75, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
    "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "finit_module": 273,
    "kexec_file_load": 294, "bpf": 280, "userfaultfd": 282, "kexec_load": 104, "io_uring_setup": 425,
    "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "personality": 92,
}  # fmt: skip
REFUSED = {"x86_64": _X86, "aarch64": _ARM}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435


def _op(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, k)


def program(machine: str | None = None) -> bytes:
    """The filter as BPF instructions (8 bytes each) for `bwrap --seccomp`. Raises SandboxError on another machine."""
    machine = machine or platform.machine()
    if machine not in REFUSED:
        raise SandboxError(f"no system-call filter for {machine}: use the docker backend")
    code = [_op(LOAD, ARCH), _op(JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0), _op(RETURN, KILL), _op(LOAD, NR)]
    if machine == "x86_64":
        code += [_op(JUMP_AT_LEAST, X32_BIT, 0, 1), _op(RETURN, KILL)]
    for number in sorted(set(REFUSED[machine].values())):
        code += [_op(JUMP_EQUAL, number, 0, 1), _op(RETURN, ERRNO | errno.EPERM)]
    code += [_op(JUMP_EQUAL, CLONE3, 0, 1), _op(RETURN, ERRNO | errno.ENOSYS)]
    code += [
        _op(JUMP_EQUAL, CLONE[machine], 0, 3),
        _op(LOAD, ARG0),
        _op(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1),
        _op(RETURN, ERRNO | errno.EPERM),
        _op(RETURN, ALLOW),
    ]
    return b"".join(code)
