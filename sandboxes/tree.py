"""An image as folders for bubblewrap to bind, with our guest programs among them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandboxes.cache import images_dir

GUEST = Path(__file__).parent / "guest"


@dataclass(frozen=True)
class Tree:
    """An image as folders: its root file system, further folders to bind read-only, and a digest over all of them."""

    root: Path
    binds: tuple[tuple[Path, str], ...]
    digest: str


def combined_hash(*parts: bytes) -> str:
    """SHA-256 (hex) over parts, with their lengths: no part can pass for the end of another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def guest_programs() -> Path:
    """A copy of the guest programs that the candidate's user may read, whatever the checkout's permissions are."""
    programs = sorted(GUEST.glob("*.py"))
    done = images_dir() / f"guest-{combined_hash(*(p.read_bytes() for p in programs))[:16]}"
    if not done.exists():
        with tempfile.TemporaryDirectory(dir=images_dir(), prefix=".guest-") as staging:
            os.chmod(staging, 0o755)
            for program in programs:
                copied = shutil.copy(program, staging)
                os.chmod(copied, 0o644)
            with contextlib.suppress(OSError):  # Another process may have been first; its copy is the same.
                os.rename(staging, done)
                os.mkdir(staging)  # For the context manager to remove.
    return done
