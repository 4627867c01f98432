"""The host's side of the attacks: baits that a candidate would like to reach, and the check that nothing came of it."""

from __future__ import annotations

import ctypes
import os
import pwd
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sandboxes import cgroup, lease
from sandboxes.base import SandboxFactory
from sandboxes.cache import cache_dir
from tests.sandboxes.attacks.attack import SECRET

CANDIDATE = 65534
LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Baits:
    """Things on the host that are worth an attack. `told` is all the candidate learns: where they are, not what."""

    told: dict[str, Any]
    visitors: list[str] = field(default_factory=list)

    def assert_untouched(self) -> None:
        """No connection ever arrived at a bait."""
        assert self.visitors == []


def _listen(server: socket.socket, name: str, visitors: list[str]) -> None:
    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            visitors.append(name)
            connection.close()

    server.listen()
    threading.Thread(target=accept, daemon=True).start()


def _addresses() -> list[str]:
    found = [a.address for some in psutil.net_if_addrs().values() for a in some if a.family == socket.AF_INET]
    return sorted({"127.0.0.1", *found})


@contextmanager
def baits_on_the_host(folder: Path) -> Iterator[Baits]:
    """A TCP port, a Unix and an abstract socket, files, shared memory, a queue and a process, each with a secret."""
    token = secrets.token_hex(8)
    visitors: list[str] = []
    with ExitStack() as stack:
        tcp, unix, abstract = (
            stack.enter_context(socket.socket(family)) for family in (socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX)
        )
        tcp.bind(("0.0.0.0", 0))
        unix.bind(str(folder / "bait.sock"))
        os.chmod(folder / "bait.sock", 0o777)
        abstract.bind(f"\0ratchet-bait-{token}")
        for server, name in ((tcp, "tcp"), (unix, "unix"), (abstract, "abstract")):
            _listen(server, name, visitors)
        files = [Path(f"/tmp/ratchet-bait-{token}"), folder / "secret", Path(f"/dev/shm/ratchet-bait-{token}")]
        for file in files:
            file.write_text(SECRET + token)
            file.chmod(0o666)
            stack.callback(file.unlink)
        key = int(token[:7], 16)
        segment = LIBC.shmget(key, 4096, 0o1666)
        assert segment >= 0
        stack.callback(LIBC.shmctl, segment, 0, None)
        queue = f"/ratchet-bait-{token}"
        LIBC.mq_open(queue.encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
        stack.callback(LIBC.mq_unlink, queue.encode())
        process = subprocess.Popen(["sleep", "1000"], env={"SECRET": SECRET + token, "PATH": os.environ["PATH"]})
        stack.callback(process.wait)
        stack.callback(process.kill)
        told = {
            "port": tcp.getsockname()[1], "addresses": _addresses(), "unix": str(folder / "bait.sock"),
            "abstract": f"ratchet-bait-{token}", "shm_key": key, "queue": queue.lstrip("/"),
            "files": [*map(str, files), str(Path(__file__).resolve()), "/var/lib/docker", "/etc/docker"],
            "posix_shm": files[2].name, "pid": os.getpid(), "hostname": socket.gethostname(),
            "users": [u.pw_name for u in pwd.getpwall() if 1000 <= u.pw_uid < 60000],
            "allowed_roots": [str(cache_dir()), "/var/lib/docker/", "/newroot"],
        }  # fmt: skip
        baits = Baits(told, visitors)
        _prove(baits)
        yield baits


def _prove(baits: Baits) -> None:
    """The baits can be reached from the host itself, or that nobody reaches them would say nothing."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0" + baits.told["abstract"])
    with socket.create_connection(("127.0.0.1", baits.told["port"])):
        pass
    deadline = time.monotonic() + 5
    while len(baits.visitors) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(baits.visitors) == ["abstract", "tcp"]
    baits.visitors.clear()


class Host:
    """What of the host a candidate could have changed, noted before an attack and compared after it."""

    def __init__(self, factory: SandboxFactory) -> None:
        self._client = getattr(factory, "client", None)
        self._settings = self._read()
        self._before = {p.pid for p in psutil.process_iter()}
        self._sandboxes = self._of_ours()

    @staticmethod
    def _read() -> dict[str, str]:
        places = [f"/proc/sys/kernel/{x}" for x in ("core_pattern", "hostname", "modprobe", "domainname")]
        return {p: Path(p).read_text() for p in places if os.path.exists(p)}

    def _of_ours(self) -> set[str]:
        """Containers and control groups of this process: those of other controllers on the machine are not our business."""
        groups = {p.name for base in cgroup._bases().values() if base.exists() for p in base.glob(f"{lease.me()}-*")}
        if self._client is None:
            return groups
        mine = {"label": f"{lease.OWNER}={lease.me()}"}
        return groups | {c["Id"] for c in self._client.api.containers(all=True, filters=mine)}

    def _strays(self) -> list[int]:
        """New processes of the candidate's user, in one of our sandboxes that should be gone, or in no sandbox at all."""
        found = []
        for process in psutil.process_iter(["uids", "status"]):
            uids, dead = process.info["uids"], process.info["status"] == psutil.STATUS_ZOMBIE
            if process.pid in self._before or uids is None or uids.real != CANDIDATE or dead:
                continue  # The dead wait for the host's first process to note it, which may take its time.
            try:
                groups = Path(f"/proc/{process.pid}/cgroup").read_text()
            except OSError:
                continue
            inside = f"/{cgroup.PARENT}/" in groups or "/docker/" in groups or "docker-" in groups
            if not inside or f"{lease.me()}-" in groups or any(name in groups for name in self._of_ours()):
                found.append(process.pid)
        return found

    def assert_unharmed(self) -> None:
        """Raises AssertionError when a setting changed, or a process, a container or a group of ours was left."""
        assert self._read() == self._settings
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (self._of_ours() - self._sandboxes or self._strays()):
            time.sleep(0.02)  # An engine removes a container soon after it has ended.
        assert self._of_ours() - self._sandboxes == set()
        assert self._strays() == []
