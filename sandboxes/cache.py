"""Where downloads and images are kept between runs: outside the checkout, under the user's cache folder."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from sandboxes.base import UserError


def cache_dir() -> Path:
    """The cache folder, made if it is missing. `RATCHET_CACHE` names another."""
    folder = Path(os.environ.get("RATCHET_CACHE") or platformdirs.user_cache_dir("ratchet"))
    with disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def images_dir() -> Path:
    """Where images are kept, made if it is missing."""
    folder = cache_dir() / "images"
    folder.mkdir(exist_ok=True)
    return folder


def need_space(folder: Path, count: int) -> None:
    """Raise UserError unless `count` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if free < count:
        raise UserError(
            f"disk full: {folder} has {free / 2**30:.1f} GiB free and {count / 2**30:.1f} GiB are needed; "
            "free some, or set RATCHET_CACHE to another disk"
        )


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into one line with the fix."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"disk full while writing {path}: free some space, or set RATCHET_CACHE to another disk"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(f"can't write {path}: set RATCHET_CACHE to a folder you may write to") from error
        raise
