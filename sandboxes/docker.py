"""The Docker backend: one container per sandbox, driven over its attached stdin and stdout.

The container's stdin closes when we die (`StdinOnce`), its supervisor then ends, and with process 1 everything else.
Through the docker SDK; the calls that block run in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from sandboxes import lease, masks
from sandboxes.base import MIB, Limits, Mount, SandboxError, UserError
from sandboxes.cgroup import memory_group_of, oom_kills_at
from sandboxes.images import docker_tag
from sandboxes.stream import ENVIRONMENT, StreamSandbox, Wire

CANDIDATE_USER = "65534:65534"
SUPERVISOR = ["python3", "-I", "/opt/ratchet/guest/supervisor.py"]
STDOUT = 1


def connect() -> docker.DockerClient:
    """A client of the engine that the environment names. Raises UserError when none answers."""
    try:
        client = docker.from_env(timeout=120, max_pool_size=64)
        client.ping()
    except (DockerException, OSError) as error:
        raise UserError(
            "no Docker engine answers; run `ratchet doctor --fix` to install and start one, or use --backend bubblewrap"
        ) from error
    return client


class _Attached:
    """The attached streams of a container, with Docker's 8-byte frame headers taken off."""

    def __init__(self, holder: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._holder = holder  # Keeps the HTTP response, and so the socket, from being collected.
        self._reader, self._writer = reader, writer
        self._left = 0
        self._kind = STDOUT

    async def read(self, count: int) -> bytes:
        while True:
            while self._left == 0:
                try:
                    header = await self._reader.readexactly(8)
                except asyncio.IncompleteReadError:
                    return b""
                self._kind, self._left = header[0], int.from_bytes(header[4:], "big")
            part = await self._reader.read(min(count, self._left))
            self._left -= len(part)
            if not part or self._kind == STDOUT:  # The supervisor's own stderr is of no use to us.
                return part

    async def write(self, data: bytes | memoryview) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


class DockerSandbox(StreamSandbox):
    """One container with every default of the design: see `host_config`."""

    backend = "docker"

    def __init__(
        self, client: docker.DockerClient, image: str, limits: Limits, mounts: Sequence[Mount], runtime: str | None
    ) -> None:
        super().__init__(limits)
        self._client, self._image, self._mounts, self._runtime = client, image, mounts, runtime
        self._id: str | None = None
        self._memory_group: Path | None = None
        self._attached: _Attached | None = None

    def host_config(self) -> dict[str, Any]:
        """What the engine is told: no network, no capability, nothing writable but a bounded tmpfs, bounded everything."""
        bounds = self.limits
        return {
            "network_mode": "none",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "read_only": True,
            "tmpfs": {
                "/scratch": f"rw,exec,nosuid,nodev,mode=1777,size={bounds.scratch_bytes}",
                "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={64 * MIB}",
            },
            "shm_size": 64 * MIB,
            "mem_limit": bounds.memory_bytes,
            "memswap_limit": bounds.memory_bytes,
            "pids_limit": bounds.pids,
            "nano_cpus": int(bounds.cpus * 1e9),
            "ipc_mode": "private",
            "auto_remove": True,  # Whatever ends it, also our own death, the engine removes it.
            "log_config": docker.types.LogConfig(type="none"),
            "binds": {str(m.source): {"bind": m.target, "mode": "rw" if m.writable else "ro"} for m in self._mounts},
            "runtime": self._runtime,
            "cgroupns": "private",  # Or the container's id, and where the engine keeps it, can be read from /proc.
            # There is nothing to ask, and the engine would copy the host's own name servers and domains.
            "dns": ["127.0.0.1"],
            "dns_search": ["."],
        }

    def _create(self) -> tuple[str, str]:
        api = self._client.api
        try:
            image = self._client.images.get(docker_tag(self._image))
            made = api.create_container(
                image.id,
                command=SUPERVISOR,
                user=CANDIDATE_USER,
                stdin_open=True,
                detach=False,
                environment=ENVIRONMENT,
                working_dir="/",
                hostname="sandbox",
                labels={lease.LABEL: "sandbox", lease.OWNER: lease.me()},
                host_config={
                    **api.create_host_config(**self.host_config()),
                    "MaskedPaths": [*masks.FOLDERS, *masks.FILES],
                },
            )
        except ImageNotFound as error:
            raise UserError(f"image {self._image} is not built; run `ratchet images build {self._image}`") from error
        return made["Id"], image.id

    async def open_wire(self) -> Wire:
        """Create the container, attach to it, then start it: so no byte of its output can be missed."""
        api = self._client.api
        try:
            self._id, self.image_digest = await asyncio.to_thread(self._create)
            streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            holder = await asyncio.to_thread(api.attach_socket, self._id, streams)
            raw = getattr(holder, "_sock", holder)
            raw.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=raw)
            self._attached = _Attached(holder, reader, writer)
            await asyncio.to_thread(api.start, self._id)
            state = (await asyncio.to_thread(api.inspect_container, self._id))["State"]
            self._memory_group = memory_group_of(int(state["Pid"]))
        except (DockerException, OSError) as error:
            raise SandboxError(f"Docker could not start a sandbox: {str(error).splitlines()[0][:300]}") from error
        return self._attached

    async def oom_kills(self) -> int:
        """From the container's memory group. The kernel kills the candidate before the supervisor (`oom_score_adj`),
        so the group is still there to be read."""
        return oom_kills_at(self._memory_group)

    async def close(self) -> None:
        """Remove the container by force."""
        if self._attached is not None:
            self._attached.close()
            self._attached = self._wire = None
        if self._id is not None:
            gone, self._id = self._id, None
            with contextlib.suppress(DockerException):
                await asyncio.to_thread(self._client.api.remove_container, gone, force=True, v=True)


class DockerFactory:
    """Makes Docker sandboxes. `runtime="runsc"` is gVisor, where the engine has it."""

    name = "docker"

    def __init__(self, client: docker.DockerClient | None = None, *, runtime: str | None = None) -> None:
        self.client = client or connect()
        self.runtime = runtime
        # The engine removes a container that ended; one whose controller died before it was started, only we can.
        remove_orphans(self.client)

    def sandbox(self, image: str, limits: Limits, mounts: Sequence[Mount] = ()) -> DockerSandbox:
        """A container that is not yet created."""
        return DockerSandbox(self.client, image, limits, mounts, self.runtime)


def remove_orphans(client: docker.DockerClient, *, everything: bool = False) -> list[str]:
    """Remove containers whose controller is dead (or all of ours). Returns their short ids."""
    removed = []
    # Others come and go while we look: one that is gone by then, or is being removed, is no concern of ours.
    for container in client.containers.list(all=True, filters={"label": lease.LABEL}, ignore_removed=True):
        if everything or not lease.alive(container.labels.get(lease.OWNER, "")):
            with contextlib.suppress(APIError):
                container.remove(force=True, v=True)
                removed.append(container.short_id)
    return removed
