"""A controller that is killed leaves no running sandbox."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sandboxes import cgroup, lease
from sandboxes.base import SandboxFactory
from tests.sandboxes.conftest import IMAGE

pytestmark = pytest.mark.sandbox
ROOT = Path(__file__).resolve().parents[2]
MARK = "4815162342"
CONTROLLER = f"""
from sandboxes.backends import choose_backend
from sandboxes.base import Limits
from sandboxes.session import open_session
import sys
with open_session(choose_backend(sys.argv[1]), {IMAGE!r}, Limits()) as box:
    running = box.exec_later(["sleep", "{MARK}"])
    print("started", flush=True)
    running.result()
"""


def sleepers() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", MARK]]


def wait_until(condition: object, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_sandbox_ends_with_its_controller(factory: SandboxFactory) -> None:
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, factory.name], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert controller.stdout is not None
    assert controller.stdout.readline() == "started\n"
    assert wait_until(sleepers)
    controller.kill()
    controller.wait()
    assert wait_until(lambda: not sleepers()), "the candidate's process outlived the controller"
    if factory.name == "docker":

        def ours() -> list[object]:
            found = factory.client.containers.list(all=True, filters={"label": "ratchet=sandbox"}, ignore_removed=True)  # type: ignore[attr-defined]
            return [c for c in found if c.labels[lease.OWNER].startswith(f"{controller.pid}-")]

        assert wait_until(lambda: not ours()), "the container was left behind"
    else:
        cgroup.remove_orphans()
        left = [p for base in cgroup._bases().values() for p in base.glob(f"{controller.pid}-*")]
        assert left == []
