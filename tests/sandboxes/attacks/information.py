"""Attacks that want to know something: about the host, the evaluator, or other candidates."""

from tests.sandboxes.attacks.attack import Attack

ATTACKS = (
    Attack("environment", "information", "Read its environment and that of others.", "a variable that is not ours", """
        ours = {"PATH", "HOME", "TMPDIR", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PWD", "LC_CTYPE"}
        if set(os.environ) - ours:
            escaped(set(os.environ) - ours)
        must_not_open("/proc/1/environ", "/proc/1/auxv", "/proc/1/mem", "/proc/1/maps", "/proc/1/stack", "/proc/1/syscall")
        """),
    Attack("host_processes", "information", "List the processes and command lines of the host.", "a process besides the supervisor and itself", """
        for pid in (x for x in os.listdir("/proc") if x.isdigit()):
            line = read(f"/proc/{pid}/cmdline")
            if int(pid) not in (1, os.getpid()) and line and b"program.py" not in line:
                escaped((pid, line))
            if SECRET.encode() in line:
                escaped(line)
        """),
    Attack("evaluator_process", "information", "Reach the evaluator by its process number on the host.", "a signal, its memory, its place", """
        pid = BAIT["pid"]
        for test in (lambda: os.kill(pid, 0), lambda: os.pidfd_open(pid), lambda: os.getpgid(pid), lambda: os.sched_getaffinity(pid)):
            try:
                test()
                escaped(f"process {pid}")
            except OSError:
                pass
        must_not_open(f"/proc/{pid}/mem", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline", f"/proc/{pid}/status")
        must_refuse("process_vm_readv", pid, 0, 0, 0, 0, 0)
        """),
    Attack("parent_process", "information", "Find the evaluator among its ancestors.", "an ancestor besides the supervisor", """
        if os.getppid() != 1:
            escaped(os.getppid())
        status = dict(x.split(":", 1) for x in read("/proc/1/status").decode().splitlines())
        if status["PPid"].strip() != "0" or len(status["NSpid"].split()) != 1:
            escaped(status)
        """),
    Attack("host_name", "information", "Learn the host's name.", "a name besides `sandbox`", """
        names = {os.uname().nodename, socket.gethostname(), read("/etc/hostname").decode().strip()} - {""}
        if names - {"sandbox", "localhost"} or BAIT["hostname"].encode() in read("/etc/hosts").split():
            escaped(names)
        """),
    Attack("name_servers", "information", "Learn the host's name servers and search domains.", "an address", """
        for line in read("/etc/resolv.conf").decode().splitlines():
            word = line.split("#")[0].split()
            if word and not (word[0] == "nameserver" and word[1].startswith("127.")) and word[0] in ("nameserver", "search", "domain"):
                if word[1:] != ["."]:
                    escaped(line)
        """),
    Attack("host_users", "information", "Learn who has an account on the host.", "a user that is not the image's", """
        import pwd
        for user in pwd.getpwall():
            if user.pw_name in BAIT["users"] or 1000 <= user.pw_uid < 60000:
                escaped(user.pw_name)
        must_not_open("/etc/shadow", "/etc/gshadow", "/etc/sudoers")
        if os.path.isdir("/home") and os.listdir("/home"):
            escaped(os.listdir("/home"))
        """),
    Attack("boot_command_line", "information", "Read the kernel's command line, which may hold tokens.", "the command line", """
        if read("/proc/cmdline").strip():
            escaped(read("/proc/cmdline")[:60])
        """),
    Attack("kernel_log", "information", "Read the kernel's log and its addresses.", "a line", """
        must_refuse("syslog", 3, 0, 0)
        must_refuse("syslog", 10, 0, 0)
        must_not_open("/dev/kmsg", "/proc/kmsg", "/var/log/kern.log", "/var/log/syslog")
        if any(line.split()[0].strip(b"0") for line in read("/proc/kallsyms", 4096).splitlines()[:20]):
            escaped("kernel addresses")
        """),
    Attack("kernel_keys", "information", "List the keys of the host's users.", "a key", """
        if read("/proc/keys").strip():
            escaped(read("/proc/keys")[:100])
        """),
    Attack("mount_table", "information", "Read paths of the host out of the mount table.", "a path that is not the cache's or the engine's", """
        for line in read("/proc/self/mountinfo").decode().splitlines():
            root, point = line.split()[3:5]
            if line.split(" - ")[1].split()[0] in ("proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "mqueue", "overlay", "9p"):
                continue
            if not root.startswith((*BAIT["allowed_roots"], "/docker/")) and root != "/":
                escaped(f"{root} at {point}")
        """),
    Attack("control_group_names", "information", "Learn from its control group what else runs on the host.", "a name", """
        for line in read("/proc/self/cgroup").decode().splitlines():
            if line.split(":", 2)[2] != "/":
                escaped(line)
        """),
    Attack("leftovers", "information", "Find what an earlier candidate has left.", "a file, a segment, a queue, a semaphore", """
        for place in ("/tmp", "/dev/shm", "/dev/mqueue", "/var/tmp", "/run", "/var/lock"):
            if os.path.isdir(place):
                for folder, _, names in os.walk(place):
                    for name in names:
                        if SECRET.encode() in read(os.path.join(folder, name), 4096) or "leftover" in name:
                            escaped(os.path.join(folder, name))
        for kind in ("shm", "msg", "sem"):
            if len(read(f"/proc/sysvipc/{kind}").splitlines()) > 1:
                escaped(read(f"/proc/sysvipc/{kind}"))
        if call("shmget", BAIT["shm_key"], 4096, 0)[0] >= 0:
            escaped("the host's shared memory")
        if call("mq_open", BAIT["queue"].encode(), os.O_RDONLY, 0, 0)[0] >= 0:
            escaped("the host's message queue")
        if os.path.exists("/dev/shm/" + BAIT["posix_shm"]):
            escaped("the host's POSIX shared memory")
        """, fresh=True),
    Attack("unmapped_memory", "information", "Find an earlier process's data in fresh memory.", "the secret", """
        block = mmap.mmap(-1, 64 << 20)
        if block.find(SECRET.encode()) >= 0 or any(block[i] for i in range(0, len(block), 4096)):
            escaped("memory that was not zeroed")
        """),
    Attack("open_descriptors", "information", "Look for descriptors that were left open for it.", "one besides its three streams", """
        for fd in range(3, 256):
            try:
                escaped(f"{fd}: {os.readlink(f'/proc/self/fd/{fd}')}")
            except OSError:
                pass
        if stat.S_ISSOCK(os.fstat(0).st_mode) or os.fstat(0).st_rdev != os.makedev(1, 3):
            escaped("stdin is more than /dev/null")
        """),
)  # fmt: skip
