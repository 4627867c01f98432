"""The Docker backend: one container per sandbox, driven over its attached stdin and stdout.

The container's stdin closes when we die (`StdinOnce`), its supervisor then ends, and with process 1 everything else.
Through the docker SDK; the calls that block run in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from sandboxes import deaths, gpu, lease, masks
from sandboxes.base import MIB, ExecResult, Limits, Mount, SandboxDied, UserError
from sandboxes.cgroup import group_of, oom_kills_at, resident_at
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
        draining = asyncio.ensure_future(self._writer.drain())
        try:
            # The engine leaves our half of the connection open when the container has ended: nobody would ever read it.
            while not (await asyncio.wait([draining], timeout=0.25))[0]:
                if self._reader.at_eof():
                    raise BrokenPipeError("the container has ended")
            await draining
        finally:
            draining.cancel()

    async def close(self) -> None:
        """Close the connection, and the HTTP answer that it grew out of: each holds the socket open for itself."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        getattr(self._holder, "_response", self._holder).close()


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
        self._born = 0.0

    def host_config(self) -> dict[str, Any]:
        """What the engine is told: no network, no capability, nothing writable but a bounded tmpfs, bounded everything."""
        bounds = self.limits
        places = f"rw,nosuid,nodev,mode=1777,nr_inodes={bounds.scratch_files}"
        return {
            "network_mode": "none",
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "read_only": True,
            "tmpfs": {
                "/scratch": f"{places},exec,size={bounds.scratch_bytes}",
                "/tmp": f"{places},exec,size={64 * MIB}",
                "/dev/shm": f"{places},noexec,size={64 * MIB}",  # The engine's own has no bound on files.
            },
            "mem_limit": bounds.memory_bytes,
            "memswap_limit": bounds.memory_bytes,
            "pids_limit": bounds.pids,
            "nano_cpus": int(bounds.cpus * 1e9),
            "cpuset_cpus": ",".join(map(str, bounds.cores)) or None,
            "ipc_mode": "private",
            "auto_remove": True,  # Whatever ends it, also our own death, the engine removes it.
            "log_config": docker.types.LogConfig(type="none"),
            "binds": {str(m.source): {"bind": m.target, "mode": "rw" if m.writable else "ro"} for m in self._mounts},
            "runtime": self._runtime,
            "cgroupns": "private",  # Or the container's id, and where the engine keeps it, can be read from /proc.
            # There is nothing to ask, and the engine would copy the host's own name servers and domains.
            "dns": ["127.0.0.1"],
            "dns_search": ["."],
            "device_requests": gpu.request(bounds.gpus),
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
                # An engine whose default runtime is NVIDIA's shows every GPU to an image that says so.
                environment={**ENVIRONMENT, **({} if self.limits.gpus else {"NVIDIA_VISIBLE_DEVICES": "void"})},
                working_dir="/",
                hostname="sandbox",
                stop_signal="SIGKILL",  # Process 1 hears no other, and an engine that stops would wait for ten seconds.
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
            creating = asyncio.ensure_future(asyncio.to_thread(self._create))
            try:
                self._id, self.image_digest = await asyncio.shield(creating)
            except asyncio.CancelledError:
                # The engine makes it all the same, and nobody else would know its name.
                self._id, self.image_digest = await creating
                await self.close()
                raise
            streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            holder = await asyncio.to_thread(api.attach_socket, self._id, streams)
            raw = getattr(holder, "_sock", holder)
            raw.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=raw)
            self._attached = _Attached(holder, reader, writer)
            self._born = time.time()
            await asyncio.to_thread(api.start, self._id)
            state = (await asyncio.to_thread(api.inspect_container, self._id))["State"]
            self._memory_group = group_of(int(state["Pid"]), "memory")
        except (DockerException, OSError) as error:
            raise await asyncio.to_thread(deaths.why_not_started, self._client, error) from error
        return self._attached

    async def exec(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, wall_s: float | None = None
    ) -> ExecResult:
        """Run a program to its end; see `Sandbox.exec`. An engine that hangs is not taken for a candidate that does."""
        result = await super().exec(argv, env=env, wall_s=wall_s)
        ended_by_us = self._id is None and result.timed_out
        if ended_by_us and not await asyncio.to_thread(deaths.answers, self._client):
            raise SandboxDied("the Docker engine stopped answering while the candidate ran", outside=True)
        return result

    async def oom_kills(self) -> int:
        """From the container's memory group. The kernel kills the candidate before the supervisor (`oom_score_adj`),
        so the group is still there to be read, unless the supervisor was killed too: then the engine knows (`_died`)."""
        return oom_kills_at(self._memory_group)

    async def _died(self) -> SandboxDied:
        oom = await self.oom_kills() > 0
        if self._id is None:  # Closed by ourselves.
            return SandboxDied("sandbox is closed", oom=oom)
        return await asyncio.to_thread(deaths.of_container, self._client, self._id, self._born, oom=oom)

    def resident_bytes(self) -> int:
        """From the container's memory group."""
        return resident_at(self._memory_group)

    async def close(self) -> None:
        """Remove the container by force, and see that it is gone."""
        attached, self._attached, self._wire = self._attached, None, None
        gone, self._id = self._id, None
        if attached is not None:
            await attached.close()  # First: output that nobody reads would hold up the engine.
        if gone is not None:
            await asyncio.to_thread(self._remove, gone)

    def _remove(self, gone: str) -> None:
        api = self._client.api
        with contextlib.suppress(DockerException, OSError):  # OSError: the engine is gone, with the container.
            try:
                api.remove_container(gone, force=True, v=True)
            except NotFound:
                return
            except APIError:  # The engine is at it itself, because the container ended (`auto_remove`).
                api.wait(gone, timeout=30, condition="removed")


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
    for container in client.containers.list(all=True, filters={"label": f"{lease.LABEL}=sandbox"}, ignore_removed=True):
        if everything or not lease.alive(container.labels.get(lease.OWNER, "")):
            with contextlib.suppress(APIError):
                container.remove(force=True, v=True)
                removed.append(container.short_id)
    return removed
