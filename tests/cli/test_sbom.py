"""`ratchet images sbom`: a valid CycloneDX document that names what is really in the image, the same each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from sandboxes import images
from sandboxes.base import SandboxFactory
from sandboxes.sbom import document, license_of
from sandboxes.session import open_session
from tests.cli.test_cli import ratchet
from tests.sandboxes.conftest import IMAGE, SMALL

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module", params=["docker", "bubblewrap"])
def factory(request: pytest.FixtureRequest, backend_with: Callable[..., SandboxFactory]) -> SandboxFactory:
    return backend_with(request.param, IMAGE)


@pytest.fixture(scope="module")
def text(factory: SandboxFactory) -> str:
    return document(factory, IMAGE, images.build(factory, IMAGE, print))


def test_it_is_valid_and_the_same_each_time(text: str, factory: SandboxFactory) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert document(factory, IMAGE, images.build(factory, IMAGE, print)) == text


def test_a_damaged_one_is_not_valid(text: str) -> None:
    damaged = json.loads(text)
    damaged["components"][0]["type"] = "sandwich"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(damaged)) is not None


def test_it_names_what_is_inside_and_nothing_else(text: str, factory: SandboxFactory) -> None:
    """Asked from inside: dpkg's own list, and what Python finds to be installed."""
    ask = (
        "import importlib.metadata as m; print(*sorted(d.name for d in m.distributions(path=['/opt/site'])), sep='\\n')"
    )
    with open_session(factory, IMAGE, SMALL) as box:
        debian = box.exec(["dpkg-query", "-W", "-f", "${Package} ${Version}\n"])
        python = box.exec(["python3", "-c", ask])
    assert debian.succeeded and python.succeeded
    parts = json.loads(text)["components"]
    listed = {f"{p['name']} {p['version']}" for p in parts if p.get("purl", "").startswith("pkg:deb/")}
    assert listed == set(debian.stdout.decode().splitlines())
    assert {p["name"] for p in parts if p.get("purl", "").startswith("pkg:pypi/")} == set(
        python.stdout.decode().split()
    )
    assert {p["name"] for p in parts if p["type"] == "file"} == {
        f"/opt/ratchet/guest/{p.name}" for p in images.GUEST.glob("*.py")
    }


def test_every_distribution_has_its_wheels_hash_and_a_licence(text: str) -> None:
    locked = images.lock_hashes(IMAGE)
    found = [p for p in json.loads(text)["components"] if p.get("purl", "").startswith("pkg:pypi/")]
    assert {p["bom-ref"].removeprefix("pypi:"): p["hashes"][0]["content"] for p in found} == locked
    assert all(p["licenses"] for p in found)


def test_debian_packages_have_licences(text: str) -> None:
    found = [p for p in json.loads(text)["components"] if p.get("purl", "").startswith("pkg:deb/")]
    assert sum(1 for p in found if p.get("licenses")) > len(found) / 2


def test_by_command(text: str, factory: SandboxFactory, tmp_path: Path) -> None:
    target = tmp_path / "image.cdx.json"
    done = ratchet("images", "sbom", IMAGE, "--backend", factory.name, "--output", str(target))
    assert (done.returncode, target.read_text()) == (0, text)
    unwritable = ratchet("images", "sbom", IMAGE, "--backend", factory.name, "-o", str(tmp_path / "no" / "where"))
    assert unwritable.returncode == 2
    assert "No such file or directory" in unwritable.stderr


@pytest.mark.parametrize(
    ("expression", "text_", "classifiers", "licence"),
    [
        ("MIT OR Apache-2.0", "anything", [], "MIT OR Apache-2.0"),
        (None, "BSD-3-Clause", [], "BSD-3-Clause"),
        (None, "UNKNOWN", ["License :: OSI Approved :: MIT License"], "MIT License"),
        (None, "Copyright (c)\nall of it", ["License :: OSI Approved :: BSD License"], "BSD License"),
        (None, None, ["Programming Language :: Python"], ""),
    ],
)
def test_where_a_licence_is_stated(
    expression: str | None, text_: str | None, classifiers: list[str], licence: str
) -> None:
    assert license_of(expression, text_, classifiers) == licence
