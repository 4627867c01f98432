"""Attacks on the files of the host, on /proc and /sys, and on whoever reads the output folder."""

from tests.sandboxes.attacks.attack import Attack

ATTACKS = (
    Attack("host_paths", "filesystem", "Read files of the host by their path.", "a file of the host", """
        for place in [*BAIT["files"], "/proc/1/root" + BAIT["files"][0], "/host", "/hostfs", "/mnt/host", "/rootfs"]:
            if os.path.lexists(place):
                escaped(place)
        """),
    Attack("find_the_secret", "filesystem", "Search every readable small file of the root for the host's secret.", "the secret", """
        skip, until = {"/proc", "/sys", "/usr/lib", "/opt/site", "/usr/share", "/scratch"}, time.monotonic() + 1
        for folder, below, names in os.walk("/"):
            below[:] = [x for x in below if os.path.join(folder, x) not in skip]
            for name in names:
                place = os.path.join(folder, name)
                if time.monotonic() < until and os.path.isfile(place) and SECRET.encode() in read(place, 65536):
                    escaped(place)
        """),
    Attack("proc_root", "filesystem", "Leave through another process's root or working directory.", "a listing of the supervisor's or the host's root", """
        pids = [x for x in os.listdir("/proc") if x.isdigit() and int(x) != os.getpid()]
        for pid in [*pids, str(BAIT["pid"]), str(os.getppid())]:
            for what in ("root", "cwd", "fd", "map_files", "ns"):
                try:
                    escaped(os.listdir(f"/proc/{pid}/{what}")[:3])
                except OSError:
                    pass
        """),
    Attack("dotdot_out_of_root", "filesystem", "Climb out of the root with `..` and an open folder.", "another root", """
        fd = os.open("/", os.O_RDONLY)
        for _ in range(20):
            fd = os.open("..", os.O_RDONLY, dir_fd=fd)
        above, root = os.fstat(fd), os.stat("/")
        if (above.st_dev, above.st_ino) != (root.st_dev, root.st_ino):
            escaped(os.listdir(fd))
        """),
    Attack("self_exe_overwrite", "filesystem", "Overwrite the interpreter through /proc/self/exe (as in CVE-2019-5736).", "a writable program", """
        for place in ("/proc/self/exe", "/proc/1/exe", sys.executable, "/usr/bin/env", "/lib/x86_64-linux-gnu/libc.so.6"):
            must_not_open(place, flags=os.O_WRONLY)
        fd = os.open("/proc/self/exe", os.O_PATH)
        must_not_open(f"/proc/self/fd/{fd}", flags=os.O_RDWR)
        """),
    Attack("our_own_programs", "filesystem", "Change the supervisor and the packages for the next candidate.", "a writable guest or package", """
        must_not_open(*glob.glob("/opt/ratchet/guest/*"), *glob.glob("/opt/site/*.py"), flags=os.O_WRONLY)
        for folder in ("/opt", "/opt/site", "/opt/ratchet/guest", "/etc", "/usr/lib/python3.11", "/usr/local/bin", "/"):
            must_not_open(folder + "/sitecustomize.py", flags=os.O_WRONLY | os.O_CREAT)
            for change in (lambda: os.chmod(folder, 0o777), lambda: os.rename(folder, folder + "2"), lambda: os.utime(folder)):
                try:
                    change()
                    escaped(f"changed {folder}")
                except OSError:
                    pass
        """),
    Attack("kernel_memory", "filesystem", "Read physical and kernel memory.", "any of the memory devices", """
        must_not_open("/dev/mem", "/dev/kmem", "/dev/port", "/proc/kcore", "/dev/core", "/proc/kpagecount", "/proc/vmallocinfo")
        """),
    Attack("devices", "filesystem", "Look for a device that is more than null, zero, full, random and a terminal.", "another device", """
        harmless = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)}
        for folder, _, names in os.walk("/dev"):
            for name in names:
                place = os.path.join(folder, name)
                info = os.stat(place) if os.path.exists(place) else None
                if info is None or folder.startswith("/dev/pts") or not (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)):
                    continue
                if (os.major(info.st_rdev), os.minor(info.st_rdev)) not in harmless and "nvidia" not in name:
                    escaped(place)
        """),
    Attack("make_devices", "filesystem", "Make a block device of the host's disk, and a terminal.", "a device node", """
        for place in ("/scratch/disk", "/tmp/disk", "/dev/shm/disk", "/dev/disk"):
            for kind, device in ((stat.S_IFBLK, (254, 0)), (stat.S_IFBLK, (8, 0)), (stat.S_IFCHR, (1, 1)), (stat.S_IFCHR, (5, 1))):
                try:
                    os.mknod(place, kind | 0o666, os.makedev(*device))
                    escaped(place)
                except OSError:
                    pass
        """),
    Attack("kernel_settings", "filesystem", "Write the kernel's settings that run programs on the host.", "a writable setting", """
        must_not_open("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/fs/binfmt_misc/register",
                      "/proc/sys/kernel/hotplug", "/proc/sysrq-trigger", "/proc/sys/vm/overcommit_memory",
                      "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ping_group_range", "/sys/kernel/uevent_helper",
                      "/proc/irq/default_smp_affinity", "/proc/mtrr", "/proc/sys/kernel/hostname", flags=os.O_WRONLY)
        """),
    Attack("control_groups", "filesystem", "Raise its own limits, or name a release agent.", "a writable control group", """
        for folder, below, names in os.walk("/sys/fs/cgroup"):
            must_not_open(*(os.path.join(folder, x) for x in names), flags=os.O_WRONLY)
            try:
                os.mkdir(os.path.join(folder, "mine"))
                escaped(f"made a group in {folder}")
            except OSError:
                pass
        """),
    Attack("sys_tricks", "filesystem", "Write below /sys: power state, devices, firmware.", "a writable file below /sys", """
        must_not_open("/sys/power/state", "/sys/bus/pci/rescan", "/sys/firmware/efi/efivars", "/sys/kernel/debug",
                      "/sys/kernel/security", "/sys/kernel/mm/ksm/run", "/sys/module/kernel/parameters/panic", flags=os.O_WRONLY)
        must_not_open("/sys/kernel/debug/tracing/trace", "/sys/kernel/tracing/trace", "/sys/firmware/dmi/tables/DMI")
        """),
    Attack("output_is_a_link", "filesystem", "Leave a symbolic link where the answer is fetched.", "the linked file", """
        os.symlink("/etc/passwd", "/scratch/answer_link")
        """, get="/scratch/answer_link"),
    Attack("output_below_a_link", "filesystem", "Make a folder on the way to the answer a link.", "the file behind it", """
        os.symlink("/etc", "/scratch/answer_folder")
        """, get="/scratch/answer_folder/passwd"),
    Attack("output_in_the_supervisors_proc", "filesystem", "Have the supervisor, which may, read its own /proc entries.", "its environment", """
        os.symlink("/proc/self", "/scratch/answer_self")
        """, get="/scratch/answer_self/environ"),
    Attack("output_by_descriptor", "filesystem", "Point at the supervisor's own descriptors, so that it reads its orders.", "a read that hangs or eats", """
        os.symlink("/proc/self/fd", "/scratch/answer_fd")
        """, get="/scratch/answer_fd/0"),
    Attack("output_is_a_device", "filesystem", "Have an endless device fetched by its own name.", "an endless read", """
        os.symlink("/dev", "/scratch/answer_dev")
        """, get="/scratch/answer_dev/zero"),
    Attack("output_is_a_hard_link", "filesystem", "Link a file of the read-only system into the output folder.", "the link", """
        for source in ("/etc/passwd", "/etc/shadow", "/opt/ratchet/guest/supervisor.py", "/proc/1/environ"):
            for follow in (True, False):
                try:
                    os.link(source, "/scratch/answer_hard", follow_symlinks=follow)
                    escaped(source)
                except OSError:
                    pass
        """, get="/scratch/answer_hard"),
    Attack("output_is_a_fifo", "filesystem", "Leave a pipe with a name for whoever reads the answer.", "a read that hangs", """
        os.mkfifo("/scratch/answer_fifo")
        """, get="/scratch/answer_fifo"),
    Attack("input_is_a_fifo", "filesystem", "Leave a pipe with a name where the next input is written.", "a write that hangs", """
        os.mkfifo("/scratch/next_input")
        """, put="/scratch/next_input"),
    Attack("input_is_a_link", "filesystem", "Have the next input written somewhere else.", "a write through the link", """
        os.symlink("/dev/full", "/scratch/next_link")
        os.symlink("/dev/shm", "/scratch/next_folder")
        """, put="/scratch/next_folder/x"),
    Attack("sparse_file", "filesystem", "Answer with a file of a terabyte that takes no room.", "a file above the size limit", """
        for place in ("/scratch/huge", "/tmp/huge", "/dev/shm/huge"):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            try:
                open(place, "wb").truncate(1 << 40)
                escaped(place)
            except OSError:
                pass
        """),
    Attack("sparse_within_bounds", "filesystem", "Answer with a sparse file within the limit of a file, above that of the answer.", "its bytes", """
        open("/scratch/sparse", "wb").truncate(30 << 20)
        """, get="/scratch/sparse"),
    Attack("odd_names", "filesystem", "Names with line ends, quotes, terminal escapes and 255 bytes.", "a broken wire", """
        for name in (b"a\\nb", b'{"error": null, "size": 5}', b"\\x1b[2J", b"\\xff" * 255, b"...", b"-rf", b" "):
            open(b"/scratch/" + name, "w").write("x")
        """, get="/scratch/\x1b[2J\n{}/../../etc/shadow"),
    Attack("deep_folders", "filesystem", "Folders nested deeper than a path may be long.", "a clean-up that fails", """
        for _ in range(2000):
            os.mkdir("d" * 100)
            os.chdir("d" * 100)
        """),
    Attack("remount", "filesystem", "Remount the root for writing, or mount over it.", "a mount", """
        MS_REMOUNT, MS_BIND = 32, 4096
        must_refuse("mount", b"none", b"/", None, MS_REMOUNT, None)
        must_refuse("mount", b"none", b"/", None, MS_REMOUNT | MS_BIND, None)
        must_refuse("mount", b"/dev/vda", b"/scratch", b"ext4", 0, None)
        must_refuse("mount", b"proc", b"/scratch", b"proc", 0, None)
        must_refuse("umount2", b"/proc", 2)
        """),
)  # fmt: skip
