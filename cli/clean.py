"""`ratchet clean`: remove what a killed controller may have left behind, and say what that was."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cli.options import JSON, emit, out
from sandboxes import cgroup, lease
from sandboxes.base import UserError


def clean(
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also sandboxes whose controller still runs, and all built images and downloads."),
    ] = False,
    json: JSON = False,
) -> None:
    """Remove sandboxes and temporary folders whose controller is dead."""
    from sandboxes.cache import cache_dir
    from sandboxes.docker import connect, remove_orphans

    removed: dict[str, list[str]] = {"containers": [], "control groups": [], "folders": [], "images": []}
    try:
        client = connect()
    except UserError:
        client = None
    if client is not None:
        removed["containers"] = remove_orphans(client, everything=everything)
    removed["control groups"] = cgroup.remove_orphans(everything=everything)
    removed["folders"] = _folders()
    if everything:
        if client is not None:
            for image in client.images.list(filters={"label": "ratchet=image"}):
                client.images.remove(image.id, force=True)
                removed["images"].append(image.short_id)
        shutil.rmtree(cache_dir(), ignore_errors=True)
        removed["folders"].append(str(cache_dir()))
    if json:
        emit(removed)
        return
    for kind, names in removed.items():
        out.print(f"{kind}: {', '.join(names) if names else 'none'}", markup=False, soft_wrap=True)


def _folders() -> list[str]:
    """Folders in the temporary places named after a dead controller (`ratchet-<pid>-<start>-…`)."""
    gone = []
    for place in {Path(tempfile.gettempdir()), Path("/dev/shm")}:
        for folder in place.glob("ratchet-*-*-*"):
            words = folder.name.split("-")
            if folder.is_dir() and not lease.alive(f"{words[1]}-{words[2]}"):
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(str(folder))
    return sorted(gone)
