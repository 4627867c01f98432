"""inspect_ai's Docker path, through the methods of `SandboxEnvironment`. Started by `driver.py` in the peers' environment."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from inspect_ai.util import (  # type: ignore[import-not-found,unused-ignore]
    ComposeConfig,
    ComposeService,
    SandboxEnvironment,
)
from inspect_ai.util._sandbox.docker.docker import (  # type: ignore[import-not-found,unused-ignore]
    DockerSandboxEnvironment,
)

from benchmarks.overhead.peers.rounds import Peer, serve

TASK = "overhead"
Boxes = dict[str, SandboxEnvironment]


class InspectAi(Peer[Boxes]):
    """A Compose project per candidate, with the service that inspect_ai writes when a task brings none but the image."""

    def __init__(self, image: str) -> None:
        service = ComposeService(
            image=image, command="tail -f /dev/null", init=True, network_mode="none", stop_grace_period="1s"
        )
        self.config = ComposeConfig(services={"default": service})

    async def prepare(self) -> dict[str, str]:
        """`task_init`: once for a task, and not timed."""
        facts = {"version": version("inspect_ai")}
        try:
            await DockerSandboxEnvironment.task_init(TASK, self.config)
        except Exception as error:
            # It asks for a newer engine than some distributions ship. What a sample runs does not ask again, and works.
            if "Docker Engine >=" not in str(error):
                raise
            facts["task_init refused, samples run"] = str(error).splitlines()[0]
        return facts

    async def start(self) -> Boxes:
        """`sample_init`: `docker compose config`, `up --detach --wait`, `ps` twice, `exec pwd`."""
        boxes: Boxes = await DockerSandboxEnvironment.sample_init(TASK, self.config, {})
        return boxes

    async def put(self, box: Boxes, data: bytes) -> None:
        """`write_file`: `docker compose exec` twice, the bytes as base64 on stdin."""
        await box["default"].write_file("/tmp/in", data)

    async def run(self, box: Boxes, argv: list[str]) -> None:
        """`exec`: `docker compose exec`."""
        done = await box["default"].exec(argv, cwd="/tmp")
        if not done.success:
            raise RuntimeError(done.stderr)

    async def get(self, box: Boxes) -> bytes:
        """`read_file`: `docker compose cp` of a tar archive to stdout."""
        answer: bytes = await box["default"].read_file("/tmp/out", text=False)
        return answer

    async def remove(self, box: Boxes) -> None:
        """`sample_cleanup`: `docker compose down --volumes`, and a look for images to remove."""
        await DockerSandboxEnvironment.sample_cleanup(TASK, self.config, box, False)

    async def finish(self) -> None:
        """`task_cleanup`: once for a task, and not timed."""
        await DockerSandboxEnvironment.task_cleanup(TASK, self.config, True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", required=True)
    serve(InspectAi(parser.parse_args().image))
