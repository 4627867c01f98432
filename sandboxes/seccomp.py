"""A system-call filter for every backend, assembled here so that no library and no build step stands in the boundary.

It is a deny list of what a numerical program never needs and an escape often does. Bubblewrap starts under it; the
supervisor also puts it on each candidate, so that in Docker it stands on top of the engine's own profile (an allow
list that we leave to the engine's updates, but that lets ptrace, io_uring or vsock through in some versions).

Refused calls fail with EPERM. `clone3` fails with ENOSYS so that the C library falls back to `clone`, whose flags can
be inspected (the filter can't follow clone3's pointer), and so does every call that is newer than this list.
"""

from __future__ import annotations

import errno
import platform
import struct

from sandboxes.base import SandboxError

LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NR, ARCH, ARG0, ARG1, ARG2 = 0, 4, 16, 24, 32  # Low halves: the kernel, too, looks at no more of these arguments.
X32_BIT = 0x40000000
NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LATER = {"pidfd_getfd": 438, "process_madvise": 440, "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448,
          "statmount": 457, "listmount": 458, "lsm_set_self_attr": 460}  # fmt: skip
"""Calls since Linux 5.6, which have one number on every machine."""
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
    "modify_ldt": 154, "uselib": 134, "sysfs": 139, "vhangup": 153, "lookup_dcookie": 212, "migrate_pages": 256,
    "fanotify_mark": 301, **_LATER,
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
    "vhangup": 58, "lookup_dcookie": 18, "migrate_pages": 238, "fanotify_mark": 263, **_LATER,
}  # fmt: skip
REFUSED = {"x86_64": _X86, "aarch64": _ARM}
_INSPECTED = {
    "x86_64": {"socket": 41, "socketpair": 53, "clone": 56, "ioctl": 16, "prlimit64": 302, "setpriority": 141, "ioprio_set": 251,
               "sched_setaffinity": 203, "sched_setscheduler": 144, "sched_setparam": 142, "sched_setattr": 314},
    "aarch64": {"socket": 198, "socketpair": 199, "clone": 220, "ioctl": 29, "prlimit64": 261, "setpriority": 140, "ioprio_set": 30,
                "sched_setaffinity": 122, "sched_setscheduler": 119, "sched_setparam": 118, "sched_setattr": 274},
}  # fmt: skip
CLONE3, LAST_KNOWN = 435, 462
FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6: the network namespace holds these. It doesn't hold AF_VSOCK or AF_ALG."""
AF_NETLINK, NETLINK_ROUTE = 16, 0
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
SUPERVISOR = 1
PRIO_PROCESS, IOPRIO_WHO_PROCESS = 0, 1


def _op(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, k)


_ALLOWED, _REFUSED = _op(RETURN, ALLOW), _op(RETURN, ERRNO | errno.EPERM)


def _on(number: int, *rules: bytes) -> list[bytes]:
    """Rules for one system call; the last of them returns."""
    return [_op(JUMP_EQUAL, number, 0, len(rules)), *rules]


def _inspected(calls: dict[str, int]) -> list[bytes]:
    """Calls that are refused for some arguments: other kinds of sockets, new namespaces, the supervisor as the target."""
    code: list[bytes] = []
    for name in ("socket", "socketpair"):
        code += _on(
            calls[name],
            _op(LOAD, ARG0),
            *(_op(JUMP_EQUAL, family, 5 - at, 0) for at, family in enumerate(FAMILIES)),
            _op(JUMP_EQUAL, AF_NETLINK, 0, 3),
            _op(LOAD, ARG2),
            _op(JUMP_EQUAL, NETLINK_ROUTE, 0, 1),
            _ALLOWED,
            _REFUSED,
        )
    code += _on(calls["clone"], _op(LOAD, ARG0), _op(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1), _REFUSED, _ALLOWED)
    code += _on(
        calls["ioctl"],
        _op(LOAD, ARG1),
        _op(JUMP_EQUAL, TIOCSTI, 1, 0),
        _op(JUMP_EQUAL, TIOCLINUX, 0, 1),
        _REFUSED,
        _ALLOWED,
    )
    # The supervisor runs as the same user, so the kernel would let the candidate starve it or lower its limits.
    code += _on(calls["prlimit64"], _op(LOAD, ARG0), _op(JUMP_EQUAL, 0, 1, 0), _REFUSED, _ALLOWED)
    for name in ("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        code += _on(calls[name], _op(LOAD, ARG0), _op(JUMP_EQUAL, SUPERVISOR, 0, 1), _REFUSED, _ALLOWED)
    for name, process in (("setpriority", PRIO_PROCESS), ("ioprio_set", IOPRIO_WHO_PROCESS)):
        whose = [_op(LOAD, ARG0), _op(JUMP_EQUAL, process, 0, 2), _op(LOAD, ARG1), _op(JUMP_EQUAL, SUPERVISOR, 0, 1)]
        code += _on(calls[name], *whose, _REFUSED, _ALLOWED)
    return code


def program(machine: str | None = None) -> bytes:
    """The filter as BPF instructions (8 bytes each). Raises SandboxError on another machine."""
    machine = machine or platform.machine()
    if machine not in REFUSED:
        raise SandboxError(f"no system-call filter for {machine}: use the docker backend")
    code = [_op(LOAD, ARCH), _op(JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0), _op(RETURN, KILL), _op(LOAD, NR)]
    if machine == "x86_64":
        code += [_op(JUMP_AT_LEAST, X32_BIT, 0, 1), _op(RETURN, KILL)]
    code += [_op(JUMP_AT_LEAST, LAST_KNOWN + 1, 0, 1), _op(RETURN, ERRNO | errno.ENOSYS)]
    for number in sorted(set(REFUSED[machine].values())):
        code += [_op(JUMP_EQUAL, number, 0, 1), _REFUSED]
    code += [_op(JUMP_EQUAL, CLONE3, 0, 1), _op(RETURN, ERRNO | errno.ENOSYS)]
    code += [*_inspected(_INSPECTED[machine]), _ALLOWED]
    return b"".join(code)


def programs() -> dict[str, str]:
    """The filter for each machine in hexadecimal, for a supervisor that knows its own (an engine may be elsewhere)."""
    return {machine: program(machine).hex() for machine in REFUSED}
