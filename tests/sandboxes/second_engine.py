"""A Docker engine of the tests' own, which they may restart and kill without harm to anybody's containers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import IO, Any

import docker

from sandboxes.images import docker_tag

START_S = 60


class SecondEngine:
    """A `dockerd` with folders, a socket and a containerd of its own, and no network. It is ended by its pid."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.client = docker.DockerClient(base_url=f"unix://{folder}/docker.sock", timeout=60, version="auto") if (
            self.start()
        ) else None  # fmt: skip

    @staticmethod
    def missing() -> str:
        """Why there can't be one here; empty when there can."""
        if os.geteuid() != 0:
            return "starting a second Docker engine takes root"
        if shutil.which("dockerd") is None or shutil.which("containerd") is None:
            return "dockerd or containerd is not installed here"
        return ""

    def start(self) -> bool:
        """Start it and wait until it answers."""
        at, log = self._folder, (self._folder / "log").open("ab")
        (at / "daemon.json").write_text("{}")
        # In a network of its own: an engine that is told to have no bridge removes the one of the engine beside it.
        line = [
            "unshare",
            "--net",
            "dockerd",
            f"--config-file={at}/daemon.json",
            f"--data-root={at}/data",
            f"--exec-root={at}/exec",
        ]
        line += [f"--host=unix://{at}/docker.sock", f"--pidfile={at}/pid", "--bridge=none", "--iptables=false"]
        line += [
            "--ip6tables=false",
            "--containerd-namespace=ratchet-test",
            "--containerd-plugins-namespace=ratchet-test-p",
        ]
        self._process = subprocess.Popen(line, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        log.close()
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                docker.DockerClient(base_url=f"unix://{at}/docker.sock", version="auto").close()
                return True
            except (docker.errors.DockerException, OSError):
                time.sleep(0.1)
        raise RuntimeError((at / "log").read_text()[-2000:])

    def stop(self) -> None:
        """End it as an administrator does; its containers end with it."""
        self.end(signal.SIGTERM)

    def end(self, how: signal.Signals) -> None:
        """Send a signal and wait for its end."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(30)

    def close(self) -> None:
        """Stop it for good, and let go of its folder, which an engine that was killed has left mounted."""
        self.stop()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            place = line.split()[1]
            if place.startswith(f"{self._folder}/"):
                subprocess.run(["umount", "--lazy", place], check=True)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def take_image(self, source: docker.DockerClient, image: str) -> None:
        """Copy an image from another engine, without its packages: the supervisor needs none."""
        made = source.api.create_container(source.images.get(docker_tag(image)).id, ["true"])
        flat = self._folder / "image.tar"
        try:
            with (
                tarfile.open(fileobj=Stream(source.api.export(made["Id"])), mode="r|") as old,
                tarfile.open(flat, "w") as new,
            ):
                for member in old:
                    if not member.name.startswith("opt/site/"):
                        new.addfile(member, old.extractfile(member) if member.isreg() else None)
        finally:
            source.api.remove_container(made["Id"], force=True)
        assert self.client is not None
        repository, tag = docker_tag(image).split(":")
        self.client.api.import_image_from_file(str(flat), repository=repository, tag=tag)
        flat.unlink()


class Stream(IO[bytes]):
    """An iterator of chunks as a file that can be read once."""

    def __init__(self, chunks: Any) -> None:
        self._chunks, self._rest = iter(chunks), b""

    def read(self, count: int = -1) -> bytes:
        while len(self._rest) < count:
            part = next(self._chunks, b"")
            if not part:
                break
            self._rest += part
        part, self._rest = self._rest[:count], self._rest[count:]
        return part
