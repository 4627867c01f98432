"""What an image is made of, as a CycloneDX 1.6 document: Debian packages, Python distributions, and our own programs.

Read from the image itself (dpkg's status, each distribution's metadata), with the hashes of the lock file beside them.
Two documents of one image are equal to the byte: sorted, and with a serial number and a time that depend on the content.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import HeaderParser
from email.policy import compat32
from pathlib import Path

import docker
from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from sandboxes import debian, host, images
from sandboxes.base import SandboxFactory, UserError
from sandboxes.tree import GUEST

LICENSES = LicenseFactory()
NAMES = re.compile(r"^License: *(\S.*)$", re.MULTILINE)
STATUS = "var/lib/dpkg/status"


def document(factory: SandboxFactory, image: str, digest: str) -> str:
    """The bill of materials of an image that is built in a backend, as JSON text. Raises UserError where nothing was locked."""
    client = getattr(factory, "client", None)
    if client is None and host.registered(image) is not None:
        raise UserError(
            f"{image} is this machine's own Python, of which there is no list; see `ratchet images build --help`"
        )
    status, copyrights = _of_docker(client, image) if client is not None else _of_tree(images.tree(image).root)
    parts = [
        *(_debian(package, copyrights.get(package.name, "")) for package in debian.installed(status)),
        *_distributions(images.site(image, print), images.lock_hashes(image)),
        *_programs(GUEST),
    ]
    return _written(image, digest, parts)


def _written(image: str, digest: str, parts: list[Component]) -> str:
    whole = Component(name=f"ratchet-{image}", version=digest, type=ComponentType.CONTAINER, bom_ref="image")
    bom = Bom(components=parts, serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"ratchet:{image}:{digest}"))
    bom.metadata.component = whole
    bom.metadata.timestamp = datetime.fromtimestamp(debian.EPOCH, UTC)
    bom.register_dependency(whole, parts)
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _of_tree(root: Path) -> tuple[str, dict[str, str]]:
    """dpkg's status and the copyright files of a root file system that is a folder."""
    known = {
        p.parent.name: p.read_text(errors="replace") for p in root.glob("usr/share/doc/*/copyright") if p.is_file()
    }
    return (root / STATUS).read_text(), known


def _of_docker(client: docker.DockerClient, image: str) -> tuple[str, dict[str, str]]:
    """The same of a Docker image, by way of a container that is never started."""
    made = client.api.create_container(client.images.get(images.docker_tag(image)).id, ["true"])["Id"]
    try:
        status = _files(client, made, f"/{STATUS}")["status"]
        copyrights = {
            Path(name).parent.name: text
            for name, text in _files(client, made, "/usr/share/doc").items()
            if name.endswith("/copyright")
        }
    finally:
        client.api.remove_container(made, force=True)
    return status, copyrights


def _files(client: docker.DockerClient, container: str, path: str) -> dict[str, str]:
    stream, _ = client.api.get_archive(container, path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        read = ((m.name, archive.extractfile(m)) for m in archive if m.isreg())
        return {name: file.read().decode(errors="replace") for name, file in read if file is not None}


def _debian(package: debian.Package, about: str) -> Component:
    # Debian's names of licences are not all SPDX's; the library keeps what it does not know as a plain name.
    names = sorted({name.strip()[:200] for name in NAMES.findall(about)}) if "Format:" in about[:400] else []
    where = {"arch": package.architecture, "distro": debian.SUITE}
    return Component(
        name=package.name, version=package.version, type=ComponentType.LIBRARY, bom_ref=f"deb:{package.name}",
        description=package.summary or None, licenses=[DisjunctiveLicense(name=name) for name in names],
        purl=PackageURL("deb", "debian", package.name, package.version, where),
        external_references=_site_of(package.homepage),
    )  # fmt: skip


def _distributions(site: Path, hashes: dict[str, str]) -> Iterator[Component]:
    """The Python distributions in a folder of packages; `hashes` are those of their wheels (SHA-256, hex), by name."""
    for file in sorted(site.glob("*.dist-info/METADATA")):
        about = HeaderParser(policy=compat32).parsestr(file.read_text(errors="replace"))
        name, version = str(about["Name"]), str(about["Version"])
        key = re.sub(r"[-_.]+", "-", name).lower()
        known = [HashType(alg=HashAlgorithm.SHA_256, content=hashes[key])] if key in hashes else []
        stated = license_of(about.get("License-Expression"), about.get("License"), about.get_all("Classifier") or [])
        yield Component(
            name=name, version=version, type=ComponentType.LIBRARY, bom_ref=f"pypi:{key}", hashes=known,
            description=about.get("Summary"), purl=PackageURL("pypi", None, key, version.split("+")[0]),
            licenses=[LICENSES.make_from_string(stated)] if stated else [],
            external_references=_site_of(about.get("Home-page") or ""),
        )  # fmt: skip


def license_of(expression: str | None, text: str | None, classifiers: list[str]) -> str:
    """The licence that a distribution states: an SPDX expression, else a short text, else its classifiers."""
    if expression:
        return expression
    if text and len(text) < 100 and "\n" not in text.strip() and text.strip().upper() != "UNKNOWN":
        return text.strip()
    named = [c.rsplit(" :: ", 1)[1] for c in classifiers if c.startswith("License ::") and c.count(" :: ") > 1]
    return " and ".join(sorted(named))


def _programs(folder: Path) -> Iterator[Component]:
    """Our own programs that run inside."""
    for file in sorted(folder.glob("*.py")):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        yield Component(
            name=f"/opt/ratchet/guest/{file.name}", version=digest[:16], type=ComponentType.FILE,
            bom_ref=f"guest:{file.name}", hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            licenses=[LICENSES.make_from_string("Apache-2.0")],
            properties=[Property(name="ratchet:role", value="guest program")],
        )  # fmt: skip


def _site_of(address: str) -> list[ExternalReference]:
    if not address.startswith(("http://", "https://")):
        return []
    return [ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(address))]
