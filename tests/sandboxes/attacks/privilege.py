"""Attacks that look for more rights: system calls of an escape, capabilities, the supervisor."""

from tests.sandboxes.attacks.attack import Attack


def _refused(name: str, about: str, *calls: str) -> Attack:
    """A system call that must be refused as such, not for its arguments."""
    body = "\n".join(f"must_refuse({call})" for call in calls)
    return Attack(name, "privilege", about, "the system call", body)


ATTACKS = (
    Attack("setuid_file", "privilege", "Run a setuid program of the system, and a copy with the bit set.", "another user", """
        import shutil
        programs = [path for path in map(shutil.which, ("su", "mount", "newgrp", "chfn", "passwd", "umount")) if path]
        for place in ("/scratch/su", "/tmp/su", "/dev/shm/su"):
            programs.append(shutil.copy("/usr/bin/cat", place))
            os.chmod(place, 0o6755)
        for path in programs:
            try:
                started = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            except OSError:
                continue
            users = [x.split()[1:] for x in read(f"/proc/{started.pid}/status").decode().splitlines() if x[:4] in ("Uid:", "Gid:")]
            started.kill()
            if set(sum(users, [])) - {"65534"}:
                escaped(f"{path}: {users}")
        """),
    Attack("become_root", "privilege", "Change user and groups.", "user 0", """
        for change in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0), lambda: os.setgroups([0])):
            try:
                change()
                escaped((os.getresuid(), os.getgroups()))
            except OSError:
                pass
        """),
    Attack("take_capabilities", "privilege", "Take capabilities back by capset and by the ambient set.", "a capability", """
        header, every = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[0xFFFFFFFF] * 6)
        value, _ = call("capset", header, every)
        if value == 0:
            escaped("capset")
        for capability in range(41):
            if LIBC.prctl(47, 2, capability, 0, 0) == 0:
                escaped(f"ambient {capability}")
            if LIBC.prctl(23, capability, 0, 0, 0) == 1:
                escaped(f"bounding set has {capability}")
        """),
    Attack("undo_no_new_privileges", "privilege", "Switch no-new-privileges and the filter off.", "either", """
        LIBC.prctl(38, 0, 0, 0, 0)
        LIBC.prctl(22, 0, 0, 0, 0)
        status = dict(x.split(":", 1) for x in read("/proc/self/status").decode().splitlines())
        if status["NoNewPrivs"].strip() != "1" or status["Seccomp"].strip() != "2":
            escaped(status["NoNewPrivs"] + status["Seccomp"])
        """),
    Attack("user_namespace", "privilege", "A user namespace, in which it would be root, by unshare, clone and clone3.", "a namespace", """
        for flag in (0x10000000, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x20000000, 0x40000000, 0x80):
            must_refuse("unshare", flag)
        for flag in (0x10000000, 0x20000000, 0x40000000, 0x10000000 | 0x20000):
            value, error = call("clone", flag | signal.SIGCHLD, 0, 0, 0, 0)
            if value == 0:
                os._exit(0)
            if value > 0:
                escaped(f"clone with {flag:#x}")
        value, error = call("clone3", struct.pack("8Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)
        if value == 0:
            os._exit(0)
        if value > 0:
            escaped("clone3")
        """),
    Attack("new_thread_namespace_files", "privilege", "Enter other namespaces through their files and through a pidfd.", "a namespace", """
        must_refuse("setns", 0, 0)
        for kind in ("mnt", "net", "pid", "user", "uts", "ipc", "cgroup"):
            try:
                fd = os.open(f"/proc/1/ns/{kind}", os.O_RDONLY)
                escaped(f"opened {kind} of the supervisor")
            except OSError:
                pass
        """),
    _refused("trace_supervisor", "Attach to the supervisor, or to any process.",
             '"ptrace", 16, 1, 0, 0', '"ptrace", 0x4206, 1, 0, 0', '"ptrace", 0, 0, 0, 0'),
    _refused("supervisor_memory", "Read and write the supervisor's memory.", '"process_vm_readv", 1, 0, 0, 0, 0, 0',
             '"process_vm_writev", 1, 0, 0, 0, 0, 0', '"kcmp", 1, os.getpid(), 0, 0, 0', '"process_madvise", -1, 0, 0, 0, 0'),
    Attack("supervisor_descriptor", "privilege", "Take the supervisor's wire by pidfd_getfd and by /proc.", "a descriptor", """
        pidfd = os.pidfd_open(1)
        for number in range(3):
            value, _ = call("pidfd_getfd", pidfd, number, 0)
            if value >= 0:
                escaped(f"descriptor {number} of the supervisor")
            must_not_open(f"/proc/1/fd/{number}", flags=os.O_RDWR)
        must_refuse("pidfd_getfd", -1, 0, 0)
        """),
    Attack("supervisor_limits", "privilege", "Lower the supervisor's own limits, so that it fails from now on.", "a changed limit", """
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
            try:
                resource.prlimit(1, kind, (3, 3))
                escaped(f"limit {kind}")
            except OSError:
                pass
        """, fresh=True),
    Attack("supervisor_priority", "privilege", "Starve the supervisor: lowest priority, idle class, one processor.", "a changed supervisor", """
        for change in (lambda: os.setpriority(os.PRIO_PROCESS, 1, 19), lambda: os.sched_setaffinity(1, {0}),
                       lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
                       lambda: os.setpriority(os.PRIO_USER, os.getuid(), 19)):
            try:
                change()
                escaped("priority, processors or class of the supervisor")
            except OSError:
                pass
        value, _ = call("ioprio_set", 1, 1, 3 << 13)
        if value == 0:
            escaped("input and output class of the supervisor")
        """, fresh=True),
    _refused("keyring", "Store and search keys, which no namespace keeps apart.", '"add_key", b"user", b"x", b"y", 1, -3',
             '"keyctl", 0, -3, 1', '"request_key", b"user", b"x", None, 0'),
    _refused("mount", "Mount, by the old and the new calls.", '"mount", b"x", b"/scratch", b"tmpfs", 0, None',
             '"fsopen", b"tmpfs", 0', '"open_tree", -1, b"", 1', '"move_mount", -1, b"", -1, b"", 0',
             '"fspick", -1, b"", 0', '"mount_setattr", -1, b"", 0, None, 0', '"fsmount", -1, 0, 0'),
    _refused("newest_calls", "Calls that are newer than the filter.", '"open_tree_attr", -1, b"", 0, None, 0',
             "468, -1, 0, 0, 0, 0", "470, 0, 0, 0, 0", "500, 0, 0, 0, 0", '"statmount", 0, 0, 0, 0', '"listmount", 0, 0, 0, 0'),
    _refused("bpf", "Load a program into the kernel.", '"bpf", 0, 0, 0', '"bpf", 5, 0, 0'),
    _refused("perf_events", "Count events of the whole machine.", '"perf_event_open", None, -1, 0, -1, 0'),
    _refused("io_uring", "System calls that no filter sees.", '"io_uring_setup", 0, None', '"io_uring_enter", -1, 0, 0, 0, 0, 0',
             '"io_uring_register", -1, 0, 0, 0'),
    _refused("kernel_module", "Load code into the kernel.", '"finit_module", -1, b"", 0', '"init_module", None, 0, b""',
             '"delete_module", b"x", 0', '"kexec_load", 0, 0, None, 0', '"kexec_file_load", -1, -1, 0, None, 0'),
    _refused("rename_host", "Rename the machine.", '"sethostname", b"owned", 5', '"setdomainname", b"owned", 5'),
    _refused("power", "Stop the machine (with a magic number that is wrong).", '"reboot", 1, 2, 3, 0', '"swapon", b"/x", 0',
             '"acct", b"/scratch/x"', '"quotactl", 0, None, 0, None', '"quotactl_fd", -1, 0, 0, 0'),
    _refused("chroot", "Change the root, the second half of many escapes.", '"chroot", b"/scratch"',
             '"pivot_root", b"/scratch", b"/scratch"'),
    _refused("file_handles", "Open files by their inode, past the root folder (as Docker's first escape did).",
             '"open_by_handle_at", -1, None, 0', '"name_to_handle_at", -1, b"/", None, None, 0'),
    _refused("userfaultfd", "Hold the kernel at a page fault, to win a race.", '"userfaultfd", 0', '"userfaultfd", 1'),
    _refused("personality", "Switch address randomisation off.", '"personality", 0x0040000', '"personality", 0x0400000'),
    _refused("odd_calls", "Rarely used calls with a history.", '"vmsplice", -1, 0, 0, 0', '"move_pages", 1, 0, 0, 0, 0, 0',
             '"migrate_pages", 1, 0, 0, 0', '"fanotify_init", 0, 0', '"fanotify_mark", -1, 0, 0, 0, 0',
             '"lookup_dcookie", 0, 0, 0'),
    Attack("call_of_32_bits", "privilege", "A system call of the 32-bit kind, whose numbers the filter doesn't know.", "an answer", """
        if os.uname().machine == "x86_64":
            code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
            address = ctypes.addressof(ctypes.c_char.from_buffer(code))
            if ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0:
                escaped("a 32-bit system call")
        """, expect=("killed", "refused")),
    Attack("call_of_x32", "privilege", "A system call of the x32 kind.", "an answer", """
        if os.uname().machine == "x86_64":
            value, error = call(0x40000000 + 39)
            if value > 0:
                escaped("an x32 system call")
        """, expect=("killed", "refused")),
    Attack("terminal_injection", "privilege", "Type into a terminal by TIOCSTI, paste by TIOCLINUX.", "a typed character", """
        import fcntl, pty
        try:
            leader, follower = pty.openpty()
        except OSError:
            leader = follower = 0
        for request in (0x5412, 0x541C):
            for extra in (0, 1 << 32):  # The kernel looks at 32 bits only; a filter that compares 64 is fooled (CVE-2019-10063).
                value, error = call("ioctl", follower, request | extra, b"x")
                if value == 0 or error not in (errno.EPERM, errno.EACCES):
                    escaped(f"{request | extra:#x}: {errno.errorcode.get(error)}")
        """),
    Attack("raise_priority", "privilege", "Be served before everything else on the machine.", "a raised priority", """
        for change in (lambda: os.nice(-5), lambda: os.setpriority(os.PRIO_PROCESS, 0, -10),
                       lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))):
            try:
                change()
                escaped("priority")
            except OSError:
                pass
        if call("ioprio_set", 1, 0, 1 << 13)[0] == 0:
            escaped("real-time input and output")
        """),
    Attack("raise_limits", "privilege", "Raise the limits the supervisor set.", "a raised limit", """
        for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU, resource.RLIMIT_CORE):
            _, hard = resource.getrlimit(kind)
            for bound in (hard + 1, resource.RLIM_INFINITY):
                try:
                    resource.setrlimit(kind, (bound, bound))
                    escaped(f"limit {kind} is {resource.getrlimit(kind)}")
                except (OSError, ValueError):
                    pass
        """),
    Attack("dump_core", "privilege", "Dump core, which may start a program of the host as root.", "a core file", """
        if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
            escaped("a core limit above zero")
        if os.fork() == 0:
            os.abort()
        _, status = os.wait()
        if os.WCOREDUMP(status):
            escaped("dumped core")
        """),
)  # fmt: skip
