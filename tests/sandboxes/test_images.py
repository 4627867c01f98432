"""Two builds of one commit give the same packages and the same files; what may differ is written down here, exactly.

| what | why |
| --- | --- |
| a Docker image's id | the engine puts the time of the build into it |
| times of files below /opt in Docker | layers keep the time at which they were made |
| /.dockerenv, and empty mount points below /dev, /proc, /sys, /etc/{hosts,hostname,resolv.conf,mtab} | made by the engine for a container |
| versions of Debian packages, at another time | Debian's mirror keeps only the newest; `images/base/packages.lock` tells |
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.program import Job, run_program
from benchmarks.task import Bench, Candidate
from sandboxes import debian, images
from sandboxes.base import SandboxFactory
from tests.sandboxes.conftest import IMAGE, SMALL
from tests.sandboxes.second_engine import Stream

pytestmark = [pytest.mark.sandbox]
OF_THE_ENGINE = (".dockerenv", "dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")
Entry = tuple[str, int, int, int, str]


def of_folder(folder: Path) -> dict[str, Entry]:
    """Kind, mode, owner, group and content (a hash, or where a link points) of everything below a folder."""
    found: dict[str, Entry] = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        if path.is_symlink():
            kind, content = "link", os.readlink(path)
        elif path.is_file():
            kind, content = "file", debian.sha256(path)
        else:
            kind, content = "folder", ""
        found[str(path.relative_to(folder))] = (kind, info.st_mode, info.st_uid, info.st_gid, content)
    return found


def of_image(factory: SandboxFactory, tag: str) -> dict[str, Entry]:
    """The same of a Docker image."""
    client = factory.client  # type: ignore[attr-defined]
    made = client.api.create_container(tag, ["true"])["Id"]
    found: dict[str, Entry] = {}
    try:
        with tarfile.open(fileobj=Stream(client.api.export(made)), mode="r|") as archive:
            for member in archive:
                if member.name.split("/")[0] in OF_THE_ENGINE or member.name in OF_THE_ENGINE:
                    continue
                file = archive.extractfile(member) if member.isreg() else None
                content = hashlib.file_digest(file, "sha256").hexdigest() if file else member.linkname  # type: ignore[arg-type]
                found[member.name] = (str(member.type), member.mode, member.uid, member.gid, content)
    finally:
        client.api.remove_container(made, force=True)
    return found


def differing(one: dict[str, Entry], two: dict[str, Entry]) -> list[str]:
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


@pytest.fixture(scope="module")
def docker(backend_with: Callable[..., SandboxFactory]) -> SandboxFactory:
    return backend_with("docker", IMAGE)


@pytest.fixture(scope="module")
def bubblewrap(backend_with: Callable[..., SandboxFactory]) -> SandboxFactory:
    return backend_with("bubblewrap", IMAGE)


@pytest.fixture(scope="module")
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache with nothing in it but the base, which has its own test."""
    kept = images.base_tar(print)
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        (folder / "images").mkdir()
        shutil.copy(kept, folder / "images")
        patch.setenv("RATCHET_CACHE", str(folder))
        yield folder / "images"


@pytest.mark.slow
def test_two_builds_of_the_base_are_the_same_bytes(bubblewrap: SandboxFactory, tmp_path: Path) -> None:
    kept = images.base_tar(print)
    debian.make(tmp_path / "one.tar")
    before, now = (debian.installed(debian.status_in(tar)) for tar in (kept, tmp_path / "one.tar"))
    if (
        before != now
    ):  # Debian's mirror has moved since the one in the cache was made: that is no second build of one time.
        kept = tmp_path / "two.tar"
        debian.make(kept)
    assert debian.sha256(tmp_path / "one.tar") == debian.sha256(kept)


def test_the_base_has_nothing_of_the_machine_it_was_made_on(bubblewrap: SandboxFactory) -> None:
    with tarfile.open(images.base_tar(print)) as archive:
        members = {member.name.removeprefix("./"): member for member in archive}
    assert not {"etc/hostname", "etc/resolv.conf", "etc/machine-id", "var/lib/dbus/machine-id"} & members.keys()
    assert not [name for name, m in members.items() if name.startswith(("var/log/", "tmp/")) and m.size]
    assert max(member.mtime for member in members.values()) <= debian.EPOCH
    assert {member.uname for member in members.values()} <= {"", "root", "man", "_apt", "mail", "www-data", "nobody"}


@pytest.mark.slow
def test_two_builds_for_bubblewrap_are_the_same_files(bubblewrap: SandboxFactory, empty_cache: Path) -> None:
    """From an empty cache, against the one in use: packages, guest programs, root, byte code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RATCHET_CACHE")
        kept = images.tree(IMAGE)
    digest = images.build_tree(IMAGE, print)
    fresh = images.tree(IMAGE)
    assert fresh.root.is_relative_to(empty_cache)
    assert fresh.digest == digest == kept.digest
    compared = 0
    for (one, _), (two, _) in zip([(fresh.root, ""), *fresh.binds], [(kept.root, ""), *kept.binds], strict=True):
        assert one != two
        assert differing(of_folder(one), of_folder(two)) == []
        compared += len(of_folder(one))
    assert compared > 5000
    assert any(path.suffix == ".pyc" for path in fresh.binds[0][0].rglob("numpy/__pycache__/*"))


@pytest.mark.slow
def test_two_builds_for_docker_are_the_same_files(docker: SandboxFactory) -> None:
    again = f"ratchet-{IMAGE}:built-again"
    client = docker.client  # type: ignore[attr-defined]
    try:
        images.build_docker(client, IMAGE, print, tag=again)
        one, two = of_image(docker, images.docker_tag(IMAGE)), of_image(docker, again)
    finally:
        client.images.remove(again, force=True)
    assert differing(one, two) == []
    assert len(one) > 5000
    assert any(name.startswith("opt/site/numpy/__pycache__/") for name in one)


@pytest.mark.parametrize("image", images.names())
def test_everything_below_an_image_is_locked_by_hash(image: str) -> None:
    text = (images.RECIPES / image / "requirements.lock").read_text()
    lines = [line for line in text.splitlines() if line[:1] not in ("#", " ", "-")]
    assert len(images.lock_hashes(image)) == len(lines) > 0
    assert "@sha256:" in (images.RECIPES / "base" / "Dockerfile").read_text()
    assert all("://" not in line for line in lines)


def test_what_is_installed_is_compared_with_what_is_recorded(bubblewrap: SandboxFactory) -> None:
    packages = debian.installed(debian.status_in(images.base_tar(print)))
    assert {"python3", "libc6", "dpkg", "util-linux"} <= {p.name for p in packages}
    said = debian.differences([p for p in packages if p.name != "libc6"])
    assert [line.split("=")[0] for line in said if line.startswith("libc6=")] == ["libc6"]


def test_a_recipe_changes_with_each_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = images.recipe_hash(IMAGE)
    monkeypatch.setattr(debian, "EPOCH", 0)
    assert images.recipe_hash(IMAGE) != before


def test_the_digest_of_the_image_goes_into_every_outcome(factory: SandboxFactory, tmp_path: Path) -> None:
    expected = images.build(factory, IMAGE, print)
    assert expected.startswith("sha256:") and len(expected) == 71
    guest = tmp_path / "guest.py"
    guest.write_text("import candidate\ncandidate.load('/scratch/candidate.py', 'answer')()\n")
    job = Job(image=IMAGE, limits=SMALL, guest=guest, inputs={}, output="answer", max_output_bytes=10)
    bodies = ("open('/scratch/answer', 'w').close()", "raise ValueError", "pass", "import os; os.kill(os.getpid(), 9)")
    for body in bodies:
        outcome = run_program(Candidate(source=f"def answer():\n    {body}\n"), job, Bench(factory))
        assert (outcome.image, outcome.backend) == (expected, factory.name), json.dumps(outcome.reason)
