"""`ratchet clean` removes what dead controllers left, says so, and touches nothing of a living one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from sandboxes import cgroup, images, lease
from sandboxes.docker import connect
from sandboxes.engine import engine_answers
from tests.cli.test_cli import ratchet

pytestmark = pytest.mark.sandbox
DEAD = "4194303-1.00"


def test_folders_of_dead_controllers_only() -> None:
    left = Path(tempfile.mkdtemp(prefix=f"ratchet-{DEAD}-"))
    (left / "model.sock").touch()
    ours = Path(tempfile.mkdtemp(prefix=lease.folder_prefix()))
    removed = json.loads(ratchet("clean", "--json").stdout)
    assert str(left) in removed["folders"]
    assert not left.exists()
    assert ours.exists()
    ours.rmdir()


@pytest.mark.skipif(not cgroup.available(), reason="control groups can't be made here")
def test_control_groups_of_dead_controllers_only() -> None:
    base = next(iter(cgroup._bases().values()))
    (base / f"{DEAD}-abc").mkdir()
    (base / f"{lease.me()}-abc").mkdir()
    removed = json.loads(ratchet("clean", "--json").stdout)
    assert f"{DEAD}-abc" in removed["control groups"]
    assert not (base / f"{DEAD}-abc").exists()
    assert (base / f"{lease.me()}-abc").exists()
    (base / f"{lease.me()}-abc").rmdir()


@pytest.mark.skipif(not engine_answers(), reason="no Docker engine answers")
def test_containers_of_dead_controllers_only() -> None:
    client = connect()
    image = images.build_docker(client, "lawbench", print)

    def leave(owner: str) -> str:
        labels = {lease.LABEL: "sandbox", lease.OWNER: owner}
        return str(client.containers.create(image, ["sleep", "60"], labels=labels).short_id)

    dead, living = leave(DEAD), leave(lease.me())
    removed = json.loads(ratchet("clean", "--json").stdout)
    still = [c.short_id for c in client.containers.list(all=True, ignore_removed=True)]
    client.containers.get(living).remove(force=True)
    assert dead in removed["containers"]
    assert dead not in still
    assert living in still
