"""Choose a backend. No score without a sandbox: where none is to be had, say how to get one, and stop."""

from __future__ import annotations

import os
import shutil

from sandboxes.base import UserError
from sandboxes.bubblewrap import BubblewrapFactory
from sandboxes.docker import DockerFactory
from sandboxes.engine import engine_answers

BACKENDS = ("docker", "bubblewrap")


def choose_backend(name: str = "auto", *, runtime: str | None = None) -> DockerFactory | BubblewrapFactory:
    """The backend called `name`; `auto` takes Docker when an engine answers, else bubblewrap.

    Raises UserError when it is not to be had. `runtime` is Docker's (`runsc` for gVisor).
    """
    if name == "auto":
        name = os.environ.get("RATCHET_BACKEND", "docker" if engine_answers() else "bubblewrap")
    if name == "docker":
        return DockerFactory(runtime=runtime)
    if name == "bubblewrap":
        if shutil.which("bwrap") is None:
            raise UserError("no sandbox to run in: no Docker engine answers and bubblewrap is not installed; "
                            "run `ratchet doctor --fix`")  # fmt: skip
        return BubblewrapFactory()
    raise UserError(f"no backend called {name!r}; there are {', '.join(BACKENDS)}")
