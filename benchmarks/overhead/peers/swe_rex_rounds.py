"""SWE-ReX's Docker path, through `DockerDeployment` and its runtime. Started by `driver.py` in the peers' environment."""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import tempfile
from pathlib import Path

os.environ.setdefault("SWE_REX_LOG_STREAM_LEVEL", "ERROR")  # Read on import; its log is not what we time.

from swerex import __version__  # type: ignore[import-not-found,unused-ignore]
from swerex.deployment.docker import DockerDeployment  # type: ignore[import-not-found,unused-ignore]
from swerex.runtime.abstract import Command, UploadRequest  # type: ignore[import-not-found,unused-ignore]

from benchmarks.overhead.peers.rounds import Peer, serve


class SweRex(Peer[DockerDeployment]):
    """A container per candidate with every option at its default. The image has SWE-ReX's server in it already."""

    def __init__(self, image: str, folder: Path) -> None:
        self.image, self.input = image, folder / "in"

    async def prepare(self) -> dict[str, str]:
        """Nothing but the version."""
        return {"version": __version__}

    async def start(self) -> DockerDeployment:
        """`start`: `docker inspect`, `docker run --rm -p`, then `is_alive` over HTTP until the server answers."""
        deployment = DockerDeployment(image=self.image)
        try:
            await deployment.start()
        except BaseException:
            # `stop` asks the server to close first and gives up where none answers: that must not hide why none did.
            with contextlib.suppress(Exception):
                await deployment.stop()
            raise
        return deployment

    async def put(self, box: DockerDeployment, data: bytes) -> None:
        """`upload`: a POST of the file."""
        # `write_file` takes text only; a file of the host is what its API takes bytes from. Written once, in no time.
        if not self.input.exists():
            self.input.write_bytes(data)
        await box.runtime.upload(UploadRequest(source_path=str(self.input), target_path="/tmp/in"))

    async def run(self, box: DockerDeployment, argv: list[str]) -> None:
        """`execute`: a POST; the server runs the program as its child."""
        await box.runtime.execute(Command(command=argv, cwd="/tmp", check=True))

    async def get(self, box: DockerDeployment) -> bytes:
        """`execute` of `base64`, whose output comes back as JSON."""
        # `read_file` decodes and translates line ends, so bytes come back whole only as text that stands for them.
        done = await box.runtime.execute(Command(command=["base64", "--wrap=0", "/tmp/out"], check=True))
        return base64.b64decode(done.stdout)

    async def remove(self, box: DockerDeployment) -> None:
        """`stop`: `docker kill`. The engine removes the container on its own time, after this returns."""
        await box.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", required=True)
    with tempfile.TemporaryDirectory() as scratch:
        serve(SweRex(parser.parse_args().image, Path(scratch)))
