"""`ratchet doctor`: is everything there? Each line is ok, or the command that mends it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from cli.options import JSON, emit, out, spinner
from sandboxes.base import UserError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    mend: str = ""
    """The exact command that mends it."""


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend all that can be mended: engine, images, model, data.")
    ] = False,
    json: JSON = False,
) -> int:
    """Look at the engine, the backends, the images, the model, the data, the GPU and the disk.

    Exits 0 when the suite can run, 2 when something it needs is missing. A GPU is optional.
    """
    if fix:
        _mend()
    findings = list(examine())
    if json:
        emit([asdict(f) for f in findings])
    else:
        width = max(len(f.what) for f in findings)
        for f in findings:
            mark = "ok     " if f.ok else "missing"
            line = f"{mark}  {f.what:<{width}}  {f.detail}"
            out.print(
                line + (f"\n         {'':<{width}}  mend: {f.mend}" if f.mend else ""), markup=False, soft_wrap=True
            )
    return 0 if all(f.ok for f in findings if not f.what.startswith(("gpu", "docker", "bubblewrap", "optional"))) else 2


def _mend() -> None:
    """Install or start what may be, build the images for each backend that is here, fetch the model and the data."""
    from agents.models.smollm2 import fetch_model
    from benchmarks.registry import task, task_names
    from sandboxes import images
    from sandboxes.backends import BACKENDS, choose_backend
    from sandboxes.engine import ensure_backend

    with spinner("looking for a backend") as say:
        found = ensure_backend(say)
        usable = [b for b in BACKENDS if b == found or (b == "bubblewrap" and shutil.which("bwrap"))]
        for backend in usable:
            factory = choose_backend(backend)
            for name in images.names():
                images.build(factory, name, say)
        say("model: fetching")
        fetch_model(say)
        for name in task_names():
            if not task(name).optional_data:
                task(name).fetch(say)


def examine() -> Iterator[Finding]:
    """All findings, in the order in which one would mend them."""
    from benchmarks.fetch import damaged
    from benchmarks.registry import task, task_names
    from results.provenance import gpu_name
    from sandboxes import images
    from sandboxes.cache import cache_dir
    from sandboxes.engine import engine_answers

    docker, bwrap = engine_answers(), shutil.which("bwrap") is not None
    yield Finding(
        "docker engine", docker, "answers" if docker else "does not answer", "" if docker else "ratchet doctor --fix"
    )
    yield Finding(
        "bubblewrap", bwrap, "installed" if bwrap else "not installed", "" if bwrap else "apt-get install bubblewrap"
    )
    yield Finding(
        "backend", docker or bwrap, "docker" if docker else "bubblewrap" if bwrap else "none: no score without a sandbox",
        "" if docker or bwrap else "ratchet doctor --fix",
    )  # fmt: skip
    for name in images.names():
        built = _image_built(name, docker)
        yield Finding(
            f"image {name}", built, "built" if built else "not built", "" if built else f"ratchet images build {name}"
        )
    yield _model()
    for name in task_names():
        missing, optional = task(name).missing(), task(name).optional_data
        yield Finding(
            f"{'optional ' if optional else ''}data {name}", missing is None, missing or "at hand",
            f"ratchet data fetch {name}" if missing else "",
        )  # fmt: skip
    bad = damaged()
    yield Finding(
        "downloads", not bad, bad[0] if bad else "every file has its recorded hash", "ratchet data fetch" if bad else ""
    )
    gpu = gpu_name()
    yield Finding("gpu", gpu != "none", gpu if gpu != "none" else "none (optional: the suite runs on the CPU)")
    free = shutil.disk_usage(cache_dir()).free / 2**30
    yield Finding(
        "disk", free >= 6, f"{free:.0f} GiB free at {cache_dir()}", "" if free >= 6 else "ratchet clean --all, or set RATCHET_CACHE"
    )  # fmt: skip


def _image_built(name: str, docker: bool) -> bool:
    from sandboxes import images

    if docker:
        from docker.errors import ImageNotFound

        from sandboxes.docker import connect

        try:
            connect().images.get(images.docker_tag(name))
        except ImageNotFound:
            return False
        return True
    try:
        images.tree(name)
    except UserError:
        return False
    return True


def _model() -> Finding:
    from agents.models.smollm2 import model_missing

    missing = model_missing()
    return Finding("model", missing is None, missing or "at hand", "ratchet data fetch model" if missing else "")
