"""`ratchet images`: build the images that candidates run in, and lock what goes into them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import BACKEND, JSON, emit, out, spinner

app = typer.Typer(help="The images that candidates run in.", no_args_is_help=True)
NAMES = Annotated[list[str] | None, typer.Argument(help="Images; all of them without one.")]


HOST = Annotated[
    bool | None,
    typer.Option(
        help="Let this machine's own Python be the image, in bubblewrap: for a node without network that has a PyTorch. "
        "Nothing is locked then, and records say so. Only for images of kernels."
    ),
]


@app.command("build")
def build(names: NAMES = None, backend: BACKEND = "auto", host: HOST = None, json: JSON = False) -> None:
    """Build the images that are not built yet, from their lock files.

    Example: ratchet images build kernels-cuda --host
    """
    from sandboxes import images
    from sandboxes.backends import choose_backend
    from sandboxes.host import IMAGES, stand_in, unregister

    if host and backend == "auto":
        backend = "bubblewrap"
    factory = choose_backend(backend)
    digests = {}
    for name in names or (IMAGES if host else images.names()):
        with spinner(f"{name}: building") as say:
            if host:
                stand_in(factory, name)
            elif host is False:
                unregister(name)
            digests[name] = images.build(factory, name, say)
        if not json:
            out.print(f"{name}: {digests[name]}")
    if json:
        emit({"backend": factory.name, "images": digests})


@app.command("sbom")
def sbom(
    name: Annotated[str, typer.Argument(help="An image; `ratchet images build` lists them.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")] = None,
    backend: BACKEND = "auto",
) -> None:
    """Print what an image is made of as CycloneDX 1.6 JSON: Debian packages, Python distributions, our programs.

    Example: ratchet images sbom kernels --output kernels.cdx.json
    """
    from sandboxes import images
    from sandboxes.backends import choose_backend
    from sandboxes.base import UserError
    from sandboxes.sbom import document

    factory = choose_backend(backend)
    with spinner(f"{name}: reading") as say:
        text = document(factory, name, images.build(factory, name, say))
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise UserError(f"can't write {output}: {error.strerror}") from error
    out.print(f"{output}", markup=False, soft_wrap=True)


@app.command("lock")
def lock(
    names: NAMES = None,
    base: Annotated[bool, typer.Option("--base", help="Only record the Debian packages below the image.")] = False,
    json: JSON = False,
) -> None:
    """Resolve `requirements.in` of an image anew and write its lock file (for who changes an image)."""
    from sandboxes import images
    from sandboxes.lock import lock as lock_wheels
    from sandboxes.lock import lock_base

    written = {}
    for name in names or images.names():
        with spinner(f"{name}: resolving") as say:
            written[name] = str((lock_base if base else lock_wheels)(name, say))
        if not json:
            out.print(f"{name}: {written[name]}")
    if json:
        emit(written)
