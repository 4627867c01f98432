"""The Debian root file system below every image, made by mmdebstrap so that two builds give the same bytes.

It serves bubblewrap, and Docker where no registry answers. What would differ from build to build is fixed (the time that
files get) or left out (the builder's host name and name servers, logs, caches). Packages come from Debian's own mirror,
which keeps only the newest of a release: `images/base/*.lock` has the versions that the published results were made
with, a build that gets others says so, and the digest of an image covers the bytes of its base.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandboxes.base import UserError

SUITE = "bookworm"
MIRRORS = (
    f"deb http://deb.debian.org/debian {SUITE} main",
    f"deb http://deb.debian.org/debian {SUITE}-updates main",
    f"deb http://security.debian.org/debian-security {SUITE}-security main",
)
EPOCH = 1_735_689_600
"""2025-01-01, in seconds: no file of the base is younger than this."""
WITHOUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
WITH = ("/usr/share/doc/*/copyright",)
OF_THE_BUILD = (
    "etc/hostname", "etc/resolv.conf", "etc/machine-id", "var/lib/dbus/machine-id", "var/cache/ldconfig/aux-cache",
    "var/cache/debconf/*-old", "var/lib/dpkg/*-old", "var/log/*.log", "var/log/apt/*", "var/cache/apt/*.bin",
)  # fmt: skip
LOCKS = Path(__file__).parent / "images" / "base"


@dataclass(frozen=True, order=True)
class Package:
    """One installed Debian package."""

    name: str
    version: str
    architecture: str
    homepage: str = ""
    summary: str = ""

    @property
    def line(self) -> str:
        """As it stands in a lock file."""
        return f"{self.name}={self.version} {self.architecture}"


def options(extra: tuple[str, ...] = ()) -> list[str]:
    """What mmdebstrap is told besides where to write; part of an image's recipe."""
    line = ["--variant=minbase", f"--include={','.join(('python3', *extra))}", "--format=tar"]
    line += [f"--dpkgopt=path-exclude={x}" for x in WITHOUT] + [f"--dpkgopt=path-include={x}" for x in WITH]
    return [*line, *(f'--customize-hook=rm -f "$1"/{x}' for x in OF_THE_BUILD)]


def recipe(extra: tuple[str, ...] = ()) -> bytes:
    """All that a base depends on but Debian's mirror."""
    lock = lock_file(extra)
    known = lock.read_bytes() if lock.exists() else b""
    return "\n".join([str(EPOCH), SUITE, *MIRRORS, *options(extra)]).encode() + known


def make(target: Path, extra: tuple[str, ...] = ()) -> None:
    """Make the root file system as a tar file at `target`. Raises UserError."""
    if shutil.which("mmdebstrap") is None:
        raise UserError("mmdebstrap is not installed; run `apt-get install mmdebstrap debian-archive-keyring`")
    if os.geteuid() != 0 and shutil.which("newuidmap") is None:
        raise UserError("making an image without root needs uidmap; run `apt-get install uidmap` as root, once")
    line = ["mmdebstrap", *options(extra), SUITE, str(target), *MIRRORS]
    quiet = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": tempfile.gettempdir()}
    done = subprocess.run(line, capture_output=True, text=True, check=False, umask=0o022, env=quiet)
    if done.returncode:
        said = [x for x in done.stderr.splitlines() if x.strip()] or ["no reason given"]
        if any("No space left" in x for x in said):
            raise UserError("disk full while making the base image; free some space, or set TMPDIR to another disk")
        errors = [x for x in said if x.startswith("E:")]
        raise UserError(f"making the base image failed: {(errors or said)[0][:300]}")


def installed(status: str) -> list[Package]:
    """The packages that a `/var/lib/dpkg/status` says are installed, sorted."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            found.append(
                Package(fields["Package"], fields["Version"], fields["Architecture"], fields.get("Homepage", ""),
                        fields.get("Description", ""))
            )  # fmt: skip
    return sorted(found)


def status_in(tar: Path) -> str:
    """The text of `/var/lib/dpkg/status` in a root file system's tar file."""
    with tarfile.open(tar) as archive:
        file = archive.extractfile("./var/lib/dpkg/status")
        assert file is not None
        return file.read().decode()


def lock_file(extra: tuple[str, ...] = ()) -> Path:
    """Where the packages of a base are recorded."""
    return LOCKS / f"{'-'.join(('packages', *extra))}.lock"


def differences(packages: list[Package], extra: tuple[str, ...] = ()) -> list[str]:
    """Lines in which what is installed differs from what is recorded; empty when nothing is recorded."""
    if not lock_file(extra).exists():
        return []
    known = {x for x in lock_file(extra).read_text().splitlines() if x and not x.startswith("#")}
    return sorted(known ^ {package.line for package in packages})


def say_differences(tar: Path, extra: tuple[str, ...], progress: Callable[[str], None]) -> None:
    """Tell when Debian has moved on since the lock file was written."""
    changed = differences(installed(status_in(tar)), extra)
    if changed:
        progress(
            f"base: Debian's mirror has other versions than {lock_file(extra).name} ({len(changed)} lines, first "
            f"{changed[0]}); images made from it have another digest than the published ones"
        )


def write_lock(tar: Path, extra: tuple[str, ...] = ()) -> Path:
    """Record the packages of a base that was just made."""
    head = f"# Made by `ratchet images lock --base`: Debian {SUITE} with {', '.join(('python3', *extra))}.\n"
    lines = [package.line for package in installed(status_in(tar))]
    lock_file(extra).write_text(head + "\n".join(lines) + "\n")
    return lock_file(extra)


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
