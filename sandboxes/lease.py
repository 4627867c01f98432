"""Who owns a sandbox: a controller is named by its pid and start time, so that a reused pid is not mistaken for it."""

from __future__ import annotations

import os

import psutil

LABEL = "ratchet"
OWNER = "ratchet.controller"


def me() -> str:
    """The name of this process as an owner of sandboxes."""
    return f"{os.getpid()}-{psutil.Process().create_time():.2f}"


def alive(owner: str) -> bool:
    """True when the process that `owner` names still runs."""
    try:
        pid, born = owner.split("-")
        return bool(abs(psutil.Process(int(pid)).create_time() - float(born)) < 0.05)
    except (ValueError, psutil.Error):
        return False


def folder_prefix() -> str:
    """Prefix for temporary folders of this process, so that `ratchet clean` can tell whose they are."""
    return f"{LABEL}-{me()}-"
