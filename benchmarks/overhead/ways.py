"""The ways to run one candidate: a bare process, `docker run`, our sandboxes cold and from a pool, the peers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.overhead.workload import IMAGE, MEGABYTE, over_streams
from sandboxes import images
from sandboxes.base import Limits, SandboxError, SandboxFactory
from sandboxes.bubblewrap import BubblewrapFactory
from sandboxes.docker import DockerFactory
from sandboxes.preload import preload
from sandboxes.session import open_session, pooled, settle

BARE, FORK, DOCKER_RUN = "bare process", "bare warm fork", "docker run"
BWRAP, BWRAP_POOLED = "bubblewrap, cold", "bubblewrap, pooled"
DOCKER, DOCKER_POOLED = "Docker, cold", "Docker, pooled"
OURS = (BARE, FORK, BWRAP, BWRAP_POOLED, DOCKER_RUN, DOCKER, DOCKER_POOLED)
PEERS = ("SWE-ReX", "inspect_ai")
Facts = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Way:
    """Runs a program once. What comes back has `seconds`, and `steps` where they are known."""

    run: Callable[[str], dict[str, Any]]
    ready: Callable[[], None] = lambda: None
    """Called before the clock starts: a pool fills up again between two candidates."""


def _timed(run: Callable[[str], bytes], ready: Callable[[], None] = lambda: None) -> Way:
    def way(program: str) -> dict[str, Any]:
        before = time.perf_counter()
        answer = run(program)
        seconds = time.perf_counter() - before
        if answer != MEGABYTE:
            raise SandboxError(f"the output that came back is not the input ({len(answer)} bytes)")
        return {"seconds": seconds}

    return Way(way, ready)


def in_process(program: str) -> bytes:
    """A process of ours without any boundary."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").write_bytes(MEGABYTE)
        subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
        return (Path(folder) / "out").read_bytes()


def in_docker_run(tag: str, program: str) -> bytes:
    """`docker run` as it is typed, with the engine's defaults: what most people have instead of a sandbox."""
    line = ["docker", "run", "--rm", "-i", "--workdir=/tmp", tag, "python3", "-c", over_streams(program)]
    return subprocess.run(line, input=MEGABYTE, stdout=subprocess.PIPE, check=True).stdout


def in_sandbox(made: SandboxFactory, program: str) -> bytes:
    """A fresh sandbox of ours with every default of the design."""
    wanted = preload(IMAGE)
    with open_session(made, IMAGE, Limits()) as box:
        box.put("/scratch/in", MEGABYTE)
        result = box.exec(["python3", "-P", "-c", program], env=wanted.env if wanted else None)
        if not result.succeeded:
            raise SandboxError(f"the program did not end well: {result.stderr.decode(errors='replace')[-300:]}")
        return box.get("/scratch/out", max_bytes=len(MEGABYTE))


@contextmanager
def warm_fork() -> Iterator[Way]:
    """A process that has the image's modules imported and forks; it ends with the context."""
    wanted = preload(IMAGE)
    line = [sys.executable, str(Path(__file__).with_name("warm_fork.py")), *(wanted.modules if wanted else ())]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        to, back = server.stdin, server.stdout
        back.readline()

        def run(program: str) -> bytes:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "in").write_bytes(MEGABYTE)
                print(json.dumps({"folder": folder, "program": program}), file=to, flush=True)
                back.readline()
                return (Path(folder) / "out").read_bytes()

        yield _timed(run)
        to.close()


@contextmanager
def ways_to_run(names: tuple[str, ...], facts: Facts) -> Iterator[dict[str, Way]]:
    """The named ways, ready. `facts` is filled with versions and image names. Raises UserError where one is missing."""
    engine = ready(facts)
    made: dict[str, Callable[[ExitStack], Way]] = {
        BARE: lambda stack: _timed(in_process),
        FORK: lambda stack: stack.enter_context(warm_fork()),
        DOCKER_RUN: lambda stack: _timed(lambda program: in_docker_run(images.docker_tag(IMAGE), program)),
        DOCKER: lambda stack: _timed(lambda program: in_sandbox(engine, program)),
        DOCKER_POOLED: lambda stack: _pooled(stack, engine),
        BWRAP: lambda stack: _timed(lambda program: in_sandbox(BubblewrapFactory(), program)),
        BWRAP_POOLED: lambda stack: _pooled(stack, BubblewrapFactory()),
    }
    with ExitStack() as stack:
        ways = {name: made[name](stack) for name in names if name in made}
        if set(names) & set(PEERS):
            from benchmarks.overhead.peers.driver import driven

            ways |= {name: Way(driven(stack, name, facts, do="round_trip")) for name in names if name in PEERS}
        yield ways


def _pooled(stack: ExitStack, factory: DockerFactory | BubblewrapFactory) -> Way:
    pool = stack.enter_context(pooled(factory))
    in_sandbox(pool, "open('out', 'wb').write(open('in', 'rb').read())")  # It learns what is asked for.
    return _timed(lambda program: in_sandbox(pool, program), lambda: settle(pool))


def ready(facts: Facts) -> DockerFactory:
    """The engine with the image built for both backends; notes what they are."""
    factory = DockerFactory()
    for backend in (factory, BubblewrapFactory()):
        images.build(backend, IMAGE, lambda text: print(text, file=sys.stderr))
    tag = images.docker_tag(IMAGE)
    version, info = factory.client.version(), factory.client.info()
    client = subprocess.run(["docker", "version", "--format", "{{.Client.Version}}"], capture_output=True, text=True)
    facts["engine"] = {
        "engine": version["Version"],
        "client": client.stdout.strip(),
        "storage": info["Driver"],
        "control groups": f"v{info.get('CgroupVersion', '1')}",
        "image": tag,
        "image id": factory.client.images.get(tag).id,
    }
    return factory
