"""`ratchet images`: build the images that candidates run in, and lock what goes into them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import BACKEND, JSON, emit, out, spinner

app = typer.Typer(help="The images that candidates run in.", no_args_is_help=True)
NAMES = Annotated[list[str] | None, typer.Argument(help="Images; all of them without one.")]


@app.command("build")
def build(names: NAMES = None, backend: BACKEND = "auto", json: JSON = False) -> None:
    """Build the images that are not built yet, from their lock files."""
    from sandboxes import images
    from sandboxes.backends import choose_backend

    factory = choose_backend(backend)
    digests = {}
    for name in names or images.names():
        with spinner(f"{name}: building") as say:
            digests[name] = images.build(factory, name, say)
        if not json:
            out.print(f"{name}: {digests[name]}")
    if json:
        emit({"backend": factory.name, "images": digests})


@app.command("lock")
def lock(names: NAMES = None, json: JSON = False) -> None:
    """Resolve `requirements.in` of an image anew and write its lock file (for who changes an image)."""
    from sandboxes import images
    from sandboxes.lock import lock as lock_one

    written = {}
    for name in names or images.names():
        with spinner(f"{name}: resolving") as say:
            written[name] = str(lock_one(name, say))
        if not json:
            out.print(f"{name}: {written[name]}")
    if json:
        emit(written)
