"""Attacks that spend what all share. Each gets a sandbox of its own and declares how it must end."""

from tests.sandboxes.attacks.attack import Attack, Cause


def _bomb(name: str, about: str, body: str, *expect: Cause, wall_s: float = 1.0) -> Attack:
    return Attack(name, "resources", about, "more than its share", body, expect=expect, wall_s=wall_s, fresh=True)


ATTACKS = (
    _bomb("fork_bomb", "Fork for ever.", """
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """, "timed_out"),
    _bomb("orphan_storm", "Fork and leave, so that every process is an orphan that is never the same.", """
        while True:
            try:
                if os.fork():
                    os.setsid()
            except OSError:
                pass
        """, "timed_out"),
    _bomb("fork_and_exit", "Only the children go on, so that the first process ends at once.", """
        print("TRIED", flush=True)
        while True:
            try:
                if os.fork():
                    os._exit(0)
            except OSError:
                pass
        """, "refused", "failed"),
    _bomb("thread_bomb", "Start threads for ever.", """
        def more():
            while True:
                try:
                    threading.Thread(target=more).start()
                except RuntimeError:
                    time.sleep(0.01)
        more()
        """, "timed_out"),
    _bomb("zombies", "Leave children that nobody waits for, up to the limit, and stay.", """
        while True:
            try:
                if os.fork() == 0:
                    os._exit(0)
            except OSError:
                time.sleep(0.05)
        """, "timed_out", wall_s=0.7),
    _bomb("memory_by_heap", "Allocate and touch.", """
        kept = []
        while True:
            kept.append(bytearray(b"x") * (8 << 20))
        """, "oom", wall_s=3),
    _bomb("memory_by_mmap", "Map anonymous memory and touch each page.", """
        block = mmap.mmap(-1, 1 << 30)
        for at in range(0, 1 << 30, 4096):
            block[at] = 1
        """, "oom", wall_s=3),
    _bomb("memory_by_children", "Many small processes instead of a large one.", """
        for _ in range(24):
            if os.fork() == 0:
                block = bytearray(b"x") * (20 << 20)
                time.sleep(100)
        time.sleep(100)
        """, "oom", "died", wall_s=2),
    _bomb("memory_by_children_first_in_line", "The same, after asking that the supervisor be killed first.", """
        try:
            open("/proc/self/oom_score_adj", "w").write("0")
        except OSError:
            pass
        for _ in range(28):
            if os.fork() == 0:
                block = bytearray(b"x") * (9 << 20)
                time.sleep(100)
        time.sleep(100)
        """, "oom", "died", wall_s=2),
    _bomb("memory_by_memfd", "Files in memory that have no name and so no tmpfs limit.", """
        fds = []
        while True:
            fds.append(os.memfd_create("x"))
            for _ in range(24):
                os.write(fds[-1], bytes(1 << 20))
        """, "oom", "died", "failed", wall_s=3),
    _bomb("memory_by_system_v", "Shared segments that outlive their process.", """
        attach = LIBC.shmat
        attach.restype = ctypes.c_void_p
        for _ in range(60):
            segment, _ = call("shmget", 0, 8 << 20, 0o1600)
            if segment >= 0:
                ctypes.memset(attach(segment, None, 0), 1, 8 << 20)
        """, "oom", "died", "refused", wall_s=3),
    _bomb("memory_by_tmpfs", "Fill every writable file system at once.", """
        for place in ("/scratch", "/tmp", "/dev/shm"):
            try:
                for number in range(20):
                    open(f"{place}/{number}", "wb").write(bytes(16 << 20))
            except OSError:
                pass
        held = sum(os.statvfs(x).f_blocks * os.statvfs(x).f_frsize for x in ("/scratch", "/tmp", "/dev/shm"))
        if held > 256 << 20:
            escaped(f"{held} bytes of tmpfs")
        """, "refused", "oom", wall_s=3),
    _bomb("tmpfs_and_heap", "Fill the scratch space, which nobody can be killed for, then allocate.", """
        for number in range(4):
            open(f"/scratch/{number}", "wb").write(bytes(15 << 20))
            open(f"/dev/shm/{number}", "wb").write(bytes(15 << 20))
        kept = bytearray(b"x") * (1 << 30)
        """, "oom", "died", wall_s=3),
    _bomb("inode_fill", "Empty files without end: no bytes, much kernel memory.", """
        for number in range(10_000_000):
            os.close(os.open(f"/scratch/{number}", os.O_CREAT | os.O_WRONLY))
        """, "timed_out", "oom", "died", "failed", wall_s=3),
    _bomb("open_files", "Open files to the limit and beyond.", """
        kept = []
        while True:
            kept.append(os.open("/dev/null", os.O_RDONLY))
        """, "failed"),
    _bomb("descriptors_in_flight", "Hide descriptors in Unix sockets, past the limit of open files.", """
        pairs = []
        try:
            while True:
                left, right = socket.socketpair()
                left.setblocking(False)
                pairs.append((left, right))
                try:
                    while True:
                        socket.send_fds(left, [b"x"], [0] * 100)
                except BlockingIOError:
                    pass
        except OSError:
            pass
        """, "refused", "oom", "timed_out", wall_s=2),
    _bomb("pipe_buffers", "Hoard memory in pipes that are full.", """
        import fcntl
        kept = []
        try:
            while True:
                left, right = os.pipe()
                kept.append((left, right))
                os.set_blocking(right, False)
                try:
                    fcntl.fcntl(right, 1031, 1 << 20)
                except OSError:
                    pass
                try:
                    while True:
                        os.write(right, bytes(1 << 16))
                except BlockingIOError:
                    pass
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
        """, "refused", "oom", "died", wall_s=3),
    _bomb("lock_memory", "Lock memory, so that the host cannot move it.", """
        block = mmap.mmap(-1, 64 << 20)
        LIBC.mlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        if LIBC.mlock(ctypes.addressof(ctypes.c_char.from_buffer(block)), 64 << 20) == 0:
            escaped("64 MiB of locked memory")
        if call("mlockall", 3)[0] == 0:
            kept = bytearray(64 << 20)
            escaped("everything locked")
        """, "refused", "failed"),
    _bomb("huge_stack", "Recurse with a stack without end.", """
        try:
            resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY,) * 2)
        except (OSError, ValueError):
            pass
        os.execv("/bin/sh", ["sh", "-c", "f() { f; }; f"])
        """, "killed", "oom", "timed_out", "failed", wall_s=2),
    _bomb("processor_hog", "Keep every processor busy.", """
        for _ in range(8):
            if os.fork() == 0:
                break
        while True:
            pass
        """, "timed_out"),
    _bomb("flood_of_output", "Write to stdout without end.", """
        while True:
            os.write(1, b"x" * 65536)
        """, "flooded"),
    _bomb("flood_of_errors", "Write to stderr without end.", """
        while True:
            os.write(2, b"x" * 65536)
        """, "flooded"),
    _bomb("flood_by_a_grandchild", "End, and have a daemon write without end.", """
        if os.fork() == 0:
            os.setsid()
            while True:
                os.write(1, b"x" * 65536)
        time.sleep(100)
        """, "flooded"),
    _bomb("slow_drip", "A byte now and then, so that it always looks alive.", """
        while True:
            os.write(1, b".")
            time.sleep(0.02)
        """, "timed_out", wall_s=0.7),
    _bomb("closed_streams", "Close both streams and go on working.", """
        os.closerange(0, 10)
        while True:
            time.sleep(100)
        """, "timed_out", wall_s=0.7),
    _bomb("daemon_with_the_pipe", "End, while a daemon of the second generation holds the pipe.", """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        """, "refused", wall_s=2),
    _bomb("file_too_large", "Write a real file above the limit.", """
        with open("/scratch/large", "wb") as file:
            for _ in range(48):
                file.write(bytes(1 << 20))
        escaped(os.path.getsize("/scratch/large"))
        """, "failed", "killed"),
    _bomb("pending_signals", "Queue real-time signals, which take kernel memory and are never delivered.", """
        signal.pthread_sigmask(signal.SIG_BLOCK, range(34, 65))
        queued = 0
        while queued < 200_000 and call("rt_sigqueueinfo", os.getpid(), 40, struct.pack("iii", 40, 0, -1) + bytes(116))[0] == 0:
            queued += 1
        """, "refused", "oom", "timed_out", wall_s=2),
    _bomb("message_queues", "Use up the message queues that a user has on the whole machine.", """
        made = 0
        for number in range(64):
            made += call("mq_open", f"q{number}".encode(), os.O_CREAT | os.O_RDWR, 0o600, struct.pack("4q32x", 0, 10, 8192, 0))[0] >= 0
        if made:
            escaped(f"{made} message queues, which other sandboxes now lack")
        """, "refused"),
)  # fmt: skip
