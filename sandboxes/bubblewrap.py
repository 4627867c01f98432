"""The bubblewrap backend: namespaces and a system-call filter, no daemon. The fallback where no Docker engine may run.

As root, bubblewrap makes the mounts with real privileges and `setpriv` then becomes user 65534 with no capability
left, so the candidate is another user than we are. Without root, a user namespace does the same for everything but
that last point: the kernel then still sees our own user behind the candidate.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from sandboxes import cgroup, gpu, images, lease, masks, seccomp
from sandboxes.base import MIB, ExecResult, Limits, Mount, SandboxDied, SandboxError, UserError
from sandboxes.stream import ENVIRONMENT, StreamSandbox, Wire
from sandboxes.tree import Tree

UID = "65534"
DROP = [
    "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs", "--inh-caps=-all",
    "--ambient-caps=-all", "--bounding-set=-all",
]  # fmt: skip
NOT_BOUND = {"proc", "dev", "sys", "tmp", "work", "opt", "run", "root", "home", "boot", "media", "mnt", "srv"}
SUPERVISOR = ["python3", "-I", "/opt/ratchet/guest/supervisor.py"]
SIGKILL = 128 + 9
START = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1" || exit 97; shift; n=$((n-1)); done; '
"""A shell joins the groups before it becomes bwrap, so that nothing ever runs outside them."""
MOUNT = 'for at in 1 2 3; do mount -t tmpfs -o "$1" scratch "$2" || exit 98; shift 2; done; '
"""It then mounts what is writable, in a mount namespace of its own: bwrap's own tmpfs has no bound on files."""


class _Pipes:
    """A child's stdin and stdout as a wire."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    async def read(self, count: int) -> bytes:
        return await self._out.read(count)

    async def write(self, data: bytes | memoryview) -> None:
        self._in.write(bytes(data))
        await self._in.drain()


class BubblewrapSandbox(StreamSandbox):
    """One `bwrap` process tree, in a control group where we may make one, else under per-process limits."""

    backend = "bubblewrap"

    def __init__(self, image: str, limits: Limits, mounts: Sequence[Mount]) -> None:
        super().__init__(limits)
        self._image, self._mounts = image, mounts
        self._process: asyncio.subprocess.Process | None = None
        self._group: cgroup.Group | None = None
        self._errors: IO[bytes] | None = None
        self._said = ""
        """What bubblewrap wrote to stderr, once the sandbox is closed."""

    def rlimits(self) -> dict[str, int]:
        """Without a control group, memory and processes are bounded per process, which is coarser."""
        bounds = super().rlimits()
        if self._group is None:
            bounds |= {"RLIMIT_AS": self.limits.memory_bytes * 2, "RLIMIT_NPROC": self.limits.pids}
        return bounds

    def command(self, tree: Tree, filter_fd: int) -> list[str]:
        """The `bwrap` command line: every namespace is new, the root is read-only, two bounded tmpfs are writable."""
        root = os.geteuid() == 0
        line = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        line += ["--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox", "--clearenv"]
        if root:
            line += ["--cap-drop", "ALL"]
            for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
                line += ["--cap-add", capability]
        else:
            line += ["--unshare-user", "--uid", UID, "--gid", UID, "--cap-drop", "ALL"]
        # The root is an empty tmpfs that the image's folders are bound into, and it turns read-only at the end: only so
        # can mount points be made that the image doesn't have.
        for entry in sorted(tree.root.iterdir()):
            if entry.is_symlink():
                line += ["--symlink", os.readlink(entry), f"/{entry.name}"]
            elif entry.name not in NOT_BOUND:
                line += ["--ro-bind", str(entry), f"/{entry.name}"]
        line += ["--proc", "/proc", "--dev", "/dev"]
        # Covered by a device on a mount that allows none: it can't be opened. What isn't there can't be covered.
        hidden = [path for path in masks.FILES if os.path.exists(path)]
        hidden += [path for path in masks.OF_THE_BUILDER if (tree.root / path[1:]).is_file()]
        for path in hidden:
            line += ["--ro-bind", "/dev/null", path]
        for path in masks.FOLDERS:
            if path.startswith("/proc/") and os.path.isdir(path):
                line += ["--tmpfs", path, "--remount-ro", path]
        # Parents that bwrap makes by itself are closed to the candidate's user.
        for folder in sorted({p for _, guest in tree.binds for p in PurePosixPath(guest).parents if p.name}):
            line += ["--perms", "0755", "--dir", str(folder)]
        for host, guest in tree.binds:
            line += ["--ro-bind", str(host), guest]
        for size, place, host in self._writable(tree):
            if root:
                line += ["--bind", str(host), place]
            else:
                line += ["--perms", "1777", "--size", str(size), "--tmpfs", place]
        line += gpu.binds(self.limits.gpus)
        for mount in self._mounts:
            line += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
        line += ["--remount-ro", "/", "--seccomp", str(filter_fd), "--chdir", "/scratch"]
        for name, value in ENVIRONMENT.items():
            line += ["--setenv", name, value]
        return [*line, "--", *(DROP if root else []), *SUPERVISOR]

    def _writable(self, tree: Tree) -> list[tuple[int, str, Path]]:
        """What a candidate may write to: bytes, place inside, and the empty folder of the image that it is mounted on."""
        scratch = self.limits.scratch_bytes
        return [
            (scratch, "/scratch", tree.root / "srv"),
            (64 * MIB, "/tmp", tree.root / "mnt"),
            (64 * MIB, "/dev/shm", tree.root / "media"),
        ]

    def _prepare(self, tree: Tree) -> list[str]:
        """The command in front of bwrap's: join the control groups and, as root, mount the writable places."""
        joining = [str(path) for path in self._group.joining] if self._group is not None else []
        line = ["join", str(len(joining)), *joining]
        if os.geteuid() != 0:
            return ["/bin/sh", "-c", START + 'exec "$@"', *line]
        for size, _, host in self._writable(tree):
            line += [f"mode=1777,nosuid,nodev,size={size},nr_inodes={self.limits.scratch_files}", str(host)]
        alone = ["unshare", "--mount", "--propagation", "private"]
        return [*alone, "/bin/sh", "-c", START + MOUNT + 'exec "$@"', *line]

    async def open_wire(self) -> Wire:
        """Start bwrap inside its control group."""
        if shutil.which("bwrap") is None:
            raise UserError("bubblewrap is not installed; run `apt-get install bubblewrap`")
        tree = await asyncio.to_thread(images.tree, self._image)
        self.image_digest = tree.digest
        if await asyncio.to_thread(cgroup.available):
            self._group = cgroup.Group(f"{lease.me()}-{secrets.token_hex(6)}", self.limits)
        elif self.limits.gpus:
            raise UserError(
                "a task with a GPU needs a control group, because a bound on address space stops CUDA; run as root or "
                "use --backend docker"
            )
        filter_file = tempfile.TemporaryFile()
        filter_file.write(seccomp.program())
        filter_file.seek(0)
        self._errors = tempfile.TemporaryFile()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._prepare(tree), *self.command(tree, filter_file.fileno()),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=self._errors,
                pass_fds=[filter_file.fileno()], start_new_session=True, limit=1024 * 1024,
            )  # fmt: skip
        except OSError as error:
            raise SandboxError(f"could not start bubblewrap: {error}") from error
        finally:
            filter_file.close()
        return _Pipes(self._process)

    async def start(self) -> None:
        """Start it; bubblewrap's own complaint becomes the error."""
        try:
            await super().start()
        except SandboxError as error:
            if self._said:
                raise SandboxError(f"bubblewrap could not start a sandbox: {self._said.splitlines()[-1]}") from error
            raise

    async def exec(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, wall_s: float | None = None
    ) -> ExecResult:
        """Run a program to its end; see `Sandbox.exec`. With a GPU, its driver's libraries can be found."""
        driver = {"LD_LIBRARY_PATH": gpu.LIBRARIES} if self.limits.gpus else {}
        return await super().exec(argv, env={**driver, **(env or {})}, wall_s=wall_s)

    async def _died(self) -> SandboxDied:
        """Process 1 is out of reach for signals from inside: killed, and not for memory, it was killed from outside."""
        oom = await self.oom_kills() > 0
        if oom or self._process is None:
            return SandboxDied("sandbox ran out of memory" if oom else "sandbox is closed", oom=oom)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 5)
        code = self._process.returncode
        if code in (SIGKILL, -signal.SIGKILL) and self._group is not None:
            return SandboxDied("sandbox was killed from outside while the candidate ran", outside=True)
        return SandboxDied(f"sandbox ended while the candidate ran (its supervisor's exit code was {code})")

    async def oom_kills(self) -> int:
        """From our own memory group; 0 where we could not make one."""
        return self._group.oom_kills() if self._group is not None else 0

    def resident_bytes(self) -> int:
        """From our own memory group; 0 where we could not make one."""
        return self._group.resident_bytes() if self._group is not None else 0

    async def close(self) -> None:
        """Kill the process tree and remove its control group."""
        process, self._process, self._wire = self._process, None, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()  # Process 1 inside sees the end and leaves; changing user undid die-with-parent.
            with contextlib.suppress(ProcessLookupError):
                # Not process.kill(): it polls first, and so takes the exit status away from asyncio's own waiter.
                os.kill(process.pid, signal.SIGKILL)
        if self._group is not None:
            await asyncio.to_thread(self._group.remove)
        if process is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 10)
        errors, self._errors = self._errors, None
        if errors is not None:
            errors.seek(0)
            self._said = errors.read(500).decode("utf-8", "replace").strip()
            errors.close()


class BubblewrapFactory:
    """Makes bubblewrap sandboxes."""

    name = "bubblewrap"

    def __init__(self) -> None:
        # A sandbox ends with its controller, but the empty control group stays.
        cgroup.remove_orphans()

    def sandbox(self, image: str, limits: Limits, mounts: Sequence[Mount] = ()) -> BubblewrapSandbox:
        """A sandbox that is not yet started."""
        return BubblewrapSandbox(image, limits, mounts)
