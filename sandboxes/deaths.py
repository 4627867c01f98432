"""Find out why a Docker sandbox ended while we were talking to it, or never started: whose doing was it?

The supervisor is process 1 of its sandbox: no signal from inside reaches it, and it leaves by itself only when our end
of the wire closes. So it ended because the kernel took it for memory (the candidate's doing, and then the engine says
`oom`), because of an error of its own (blamed on what was running), or because something outside killed it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import docker
from docker.errors import DockerException, NotFound

from sandboxes import gpu
from sandboxes.base import SandboxDied, SandboxError, UserError

NOTICE_S = 5.0
"""Longest wait for the engine to notice that a container has ended."""
OOM_LATER_S = 0.5
"""The engine hears of an oom kill by another way than of the end, and may say so a little later."""
BACK_S = 30.0
"""Longest wait for an engine that does not answer, because it may be in the middle of a restart."""
SIGKILL = 128 + 9


def answers(client: docker.DockerClient) -> bool:
    """True when the engine answers at once."""
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False


def wait_for(client: docker.DockerClient) -> bool:
    """Wait until the engine answers; False when it does not within `BACK_S`."""
    deadline = time.monotonic() + BACK_S
    while not answers(client):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def of_container(client: docker.DockerClient, container: str, born: float, *, oom: bool) -> SandboxDied:
    """The death of a container that was started at `born` (seconds of the epoch)."""
    if oom:
        return SandboxDied("sandbox ran out of memory", oom=True)
    try:
        code, oom, killed = _seen(client, container, born)
    except (DockerException, OSError):
        if wait_for(client):
            return SandboxDied("the Docker engine was restarted while the candidate ran", outside=True)
        return SandboxDied("the Docker engine stopped answering; run `ratchet doctor --fix`", outside=True)
    if oom:
        return SandboxDied("sandbox ran out of memory", oom=True)
    if killed or code == SIGKILL:
        return SandboxDied("sandbox was killed from outside while the candidate ran", outside=True)
    if code is None:  # It runs on, or the engine has forgotten it. Nothing inside can cut the wire: it is process 1's.
        lost = "lost the sandbox" if wait_for(client) and _gone(client, container) else "cut the wire to the sandbox"
        return SandboxDied(f"the Docker engine {lost} while the candidate ran", outside=True)
    return SandboxDied(f"sandbox ended while the candidate ran (its supervisor's exit code was {code})")


def _seen(client: docker.DockerClient, container: str, born: float) -> tuple[int | None, bool, bool]:
    """What the engine's events say: exit code (None when it saw no end), oom, and whether it was told to kill it.

    Events rather than `inspect`: a container that ended is removed at once, and its state with it.
    """
    code, oom, killed = None, False, False
    for event in _events(client, container, int(born) - 1, time.time() + NOTICE_S):
        action = event.get("Action", "")
        oom, killed = oom or action == "oom", killed or action in ("kill", "stop")
        if action == "die":
            code = int(event["Actor"]["Attributes"].get("exitCode", -1))
            break
    if code == SIGKILL and not (oom or killed):
        for event in _events(client, container, int(born) - 1, time.time() + OOM_LATER_S):
            oom = oom or event.get("Action") == "oom"
    return code, oom, killed


def _events(client: docker.DockerClient, container: str, since: int, until: float) -> Iterator[dict[str, Any]]:
    """Events of one container; waits for more until `until`."""
    stream = client.api.events(
        since=since, until=int(until) + 1, decode=True, filters={"container": container, "type": "container"}
    )
    try:
        yield from stream
    finally:
        stream.close()


def _gone(client: docker.DockerClient, container: str) -> bool:
    try:
        return not client.api.inspect_container(container)["State"]["Running"]
    except NotFound:
        return True
    except (DockerException, OSError):
        return False


def why_not_started(client: docker.DockerClient, error: Exception) -> SandboxError | UserError:
    """An engine's refusal to start a container, as one line with the fix in it."""
    said = (str(error).splitlines() or [type(error).__name__])[0][:300]
    if "no space left" in said.lower():
        return UserError("disk full where the Docker engine keeps its containers; run `docker system prune`")
    about_gpu = gpu.refusal(error)
    if about_gpu is not None:
        return about_gpu
    if not answers(client):
        if wait_for(client):
            return SandboxError("the Docker engine was restarted while a sandbox started")
        return SandboxError("the Docker engine does not answer; run `ratchet doctor --fix`, then the same command")
    return SandboxError(f"Docker could not start a sandbox: {said}")
