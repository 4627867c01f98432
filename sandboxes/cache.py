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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't make the cache folder {folder}: {error.strerror}; set RATCHET_CACHE") from error
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
def disk_full_is_the_users() -> Iterator[None]:
    """Turn "no space left" into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError("disk full; free some space, or set RATCHET_CACHE to another disk") from error
        raise
