"""Where results lie on disk, and the one way in which they are written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

RUNS = Path("results") / "runs"
"""Local results, below the current folder; never committed."""


def write_atomically(path: Path, data: bytes) -> Path:
    """Write a file so that a reader, or a crash, sees all of it or nothing of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path
