"""A controller that is killed leaves no running sandbox."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sandboxes import cgroup, lease
from sandboxes.base import SandboxFactory
from tests.cli.test_cli import ratchet
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


def started(factory: SandboxFactory) -> subprocess.Popen[str]:
    """A controller of its own, with a candidate that sleeps."""
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, factory.name], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert controller.stdout is not None
    assert controller.stdout.readline() == "started\n"
    assert wait_until(sleepers)
    return controller


def test_sandbox_ends_with_its_controller(factory: SandboxFactory) -> None:
    controller = started(factory)
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


def test_what_can_not_end_by_itself_is_removed_by_clean_which_says_so(factory: SandboxFactory) -> None:
    """A supervisor that was stopped does not see the end of its input; with its controller dead it would stay for ever."""
    controller = started(factory)
    supervisor = next(p for p in sleepers()[0].parents() if any("supervisor.py" in word for word in p.cmdline()))
    supervisor.suspend()
    controller.kill()
    controller.wait()
    assert not wait_until(lambda: not sleepers(), 1)
    removed = json.loads(ratchet("clean", "--json").stdout)
    assert wait_until(lambda: not sleepers())
    if factory.name == "docker":
        assert removed["containers"]
    elif cgroup.available():
        assert [name for name in removed["control groups"] if name.startswith(f"{controller.pid}-")]
        assert [p for base in cgroup._bases().values() for p in base.glob(f"{controller.pid}-*")] == []
    again = json.loads(ratchet("clean", "--json").stdout)
    assert not [name for name in again["control groups"] if name.startswith(f"{controller.pid}-")]
