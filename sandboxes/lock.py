"""Turn an image's `requirements.in` into `requirements.lock`: every package with its version and its wheel's hash."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from sandboxes import debian
from sandboxes.base import UserError
from sandboxes.images import FOR_THE_IMAGE, RECIPES, Progress, debian_packages


def lock(image: str, progress: Progress) -> Path:
    """Resolve with the user's own pip, for the image's Python, and write the lock file. Raises UserError."""
    wanted = RECIPES / image / "requirements.in"
    if not wanted.exists():
        raise UserError(f"no {wanted.name} for image {image!r}")
    progress(f"{image}: resolving {wanted.name}")
    with tempfile.TemporaryDirectory() as nowhere:
        line = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-input"]
        line += [*FOR_THE_IMAGE, f"--target={nowhere}/site", f"--report={nowhere}/report.json", "-r", str(wanted)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(
                f"can't resolve {wanted}: {(done.stderr.strip() or 'no reason given').splitlines()[-1][:300]}"
            )
        report = json.loads((Path(nowhere) / "report.json").read_text())
    lines = []
    for item in report["install"]:
        name, version = item["metadata"]["name"], item["metadata"]["version"].split("+")[0]
        sha = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name.lower().replace('_', '-')}=={version} --hash=sha256:{sha}")
    target = wanted.with_suffix(".lock")
    options = "".join(f"{x}\n" for x in wanted.read_text().splitlines() if x.startswith("--"))
    head = f"# Made by `ratchet images lock {image}` from {wanted.name}. Wheels for CPython 3.11 on Linux x86_64.\n"
    target.write_text(head + options + "\n".join(sorted(lines)) + "\n")
    return target


def lock_base(image: str, progress: Progress) -> Path:
    """Make the base of an image anew and record which Debian packages it got. Raises UserError."""
    extra = debian_packages(image)
    progress(f"{image}: making its base (about half a minute)")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "base.tar"
        debian.make(made, extra)
        return debian.write_lock(made, extra)
