"""Build the images that candidates run in, one per domain, from a locked recipe; the same recipe serves both backends.

An image is a base (Debian with Python 3.11), a `site` folder of packages installed from `requirements.lock` with every
wheel checked by hash, and our guest programs. Docker gets it as an image, bubblewrap as folders to bind.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound
from filelock import FileLock

from sandboxes import debian, host
from sandboxes.base import SandboxError, UserError
from sandboxes.cache import disk_faults, images_dir, need_space
from sandboxes.tree import GUEST, Tree, combined_hash, guest_programs

Progress = Callable[[str], None]
RECIPES = Path(__file__).parent / "images"
TARGETS = ["manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_25", "manylinux_2_24", "manylinux_2_18",
           "manylinux_2_17", "manylinux2014", "manylinux_2_12", "manylinux2010", "manylinux_2_5", "manylinux1"]  # fmt: skip
FOR_THE_IMAGE = ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3",
                 "--abi=none", *(f"--platform={t}_x86_64" for t in TARGETS)]  # fmt: skip
"""What makes pip choose wheels for the image's Python rather than for ours."""
COMPILE = ["python3", "/opt/ratchet/guest/compile_site.py"]


ON_DEMAND = ("kernels-cuda", "scvi")
"""Images so large that nothing builds them but a program that asks for one, or `ratchet images build NAME`."""


def names() -> list[str]:
    """Images that have a recipe, but for those built on demand only."""
    return sorted(p.parent.name for p in RECIPES.glob("*/requirements.lock") if p.parent.name not in ON_DEMAND)


def _recipe(image: str) -> Path:
    if image not in (*names(), *ON_DEMAND):
        raise UserError(f"no image called {image!r}; there are {', '.join([*names(), *ON_DEMAND])}")
    return RECIPES / image


def debian_packages(image: str) -> tuple[str, ...]:
    """Debian packages that an image has on top of the base (a compiler, say): the lines of its `debian.txt`."""
    wanted = _recipe(image) / "debian.txt"
    return tuple(wanted.read_text().split()) if wanted.exists() else ()


def _site_hash(image: str) -> str:
    return combined_hash((_recipe(image) / "requirements.lock").read_bytes(), b"no scripts on record")[:16]


def lock_hashes(image: str) -> dict[str, str]:
    """The SHA-256 (hex) of each wheel in the lock file, by the distribution's normal name."""
    text = (_recipe(image) / "requirements.lock").read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==\S+ (?:\\\n *)?--hash=sha256:([0-9a-f]{64})", text, re.MULTILINE))


def recipe_hash(image: str) -> str:
    """Hash over everything an image is made of: base, Dockerfile, lock file and guest programs."""
    guests = [part for path in sorted(GUEST.glob("*.py")) for part in (path.name.encode(), path.read_bytes())]
    files = [RECIPES / "base" / "Dockerfile", _recipe(image) / "Dockerfile", _recipe(image) / "requirements.lock"]
    return combined_hash(
        *(f.read_bytes() for f in files), *guests, debian.recipe(debian_packages(image)), _site_hash(image).encode()
    )


def docker_tag(image: str) -> str:
    """Name of the Docker image; it changes with the recipe, so a stale image is never used."""
    return f"ratchet-{image}:{recipe_hash(image)[:16]}"


def _base_tag(extra: tuple[str, ...]) -> str:
    return f"ratchet-base:{combined_hash((RECIPES / 'base' / 'Dockerfile').read_bytes(), debian.recipe(extra))[:16]}"


def _base_name(extra: tuple[str, ...]) -> str:
    return "-".join([debian.SUITE, combined_hash(debian.recipe(extra))[:12], *extra])


def _run(line: list[str], what: str) -> None:
    # Another user than we are has to read what is made here.
    done = subprocess.run(line, capture_output=True, text=True, check=False, umask=0o022)
    if done.returncode:
        said = [x for x in (done.stderr or done.stdout).splitlines() if x.strip()] or ["no reason given"]
        if any("No space left" in x for x in said):
            raise UserError(f"disk full while {what}; free some space, or set RATCHET_CACHE to another disk")
        errors = [x for x in said if x.startswith(("ERROR", "E:"))]
        raise UserError(f"{what} failed: {(errors or said)[-1][:300]}")


def site(image: str, progress: Progress) -> Path:
    """The packages of an image, as a folder. Downloaded with the user's own pip settings, every wheel checked by hash."""
    done = images_dir() / f"site-{image}-{_site_hash(image)}"
    if done.exists():
        return done
    need_space(images_dir(), 4 * 2**30)
    progress(f"{image}: installing its locked packages")
    with tempfile.TemporaryDirectory(dir=images_dir(), prefix=".site-") as staging:
        line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile", "--no-deps"]
        line += ["--require-hashes", *FOR_THE_IMAGE, f"--target={staging}/site"]
        line += ["-r", str(_recipe(image) / "requirements.lock")]
        _run(line, f"installing the packages of image {image}")
        _forget_scripts(Path(staging) / "site")
        os.replace(f"{staging}/site", done)
    return done


def _forget_scripts(packages: Path) -> None:
    """Remove installed scripts, and their lines in each RECORD: both name the Python that ran pip, not the image's."""
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for record in packages.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not line.startswith("../../bin/")))


def base_tar(progress: Progress, extra: tuple[str, ...] = ()) -> Path:
    """A root file system made by mmdebstrap, for where no registry answers and for bubblewrap."""
    done = images_dir() / f"base-{_base_name(extra)}.tar"
    if done.exists():
        return done
    progress("base: making a Debian root file system (about half a minute)")
    with tempfile.TemporaryDirectory(dir=images_dir(), prefix=".base-") as staging:
        made = Path(staging) / "base.tar"
        debian.make(made, extra)
        debian.say_differences(made, extra, progress)
        os.replace(made, done)
    return done


def _docker_base(client: docker.DockerClient, progress: Progress, extra: tuple[str, ...] = ()) -> str:
    """Id of the base image: pulled by digest, else imported from `base_tar`."""
    try:
        return str(client.images.get(_base_tag(extra)).id)
    except ImageNotFound:
        pass
    try:
        progress("base: asking the registry")
        recipe = (RECIPES / "base" / "Dockerfile").read_text()
        if extra:
            recipe += f"RUN apt-get -q update && apt-get -qy install --no-install-recommends {' '.join(extra)}\n"
        client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=_base_tag(extra), rm=True)
    except DockerException:
        tar = base_tar(progress, extra)
        progress("base: no registry answers; importing the root file system")
        repository, tag = _base_tag(extra).split(":")
        client.api.import_image_from_file(str(tar), repository=repository, tag=tag)
    return str(client.images.get(_base_tag(extra)).id)


def build_docker(client: docker.DockerClient, image: str, progress: Progress, *, tag: str = "") -> str:
    """Build (or find) the Docker image of a domain; returns its id. Raises UserError or SandboxError.

    With a `tag` it is always built, without the engine's layer cache, and gets that name instead of its own.
    """
    with FileLock(images_dir() / f".{image}.lock"), disk_faults(images_dir()):
        with contextlib.suppress(ImageNotFound):
            if not tag:
                return str(client.images.get(docker_tag(image)).id)
        packages = site(image, progress)
        base = _docker_base(client, progress, debian_packages(image))
        progress(f"{image}: building the Docker image")
        with tempfile.TemporaryFile(dir=images_dir()) as context:
            with tarfile.open(fileobj=context, mode="w") as tar:
                tar.add(_recipe(image) / "Dockerfile", "Dockerfile", filter=_timeless)
                tar.add(packages, "site", filter=_timeless)
                for program in sorted(GUEST.glob("*.py")):
                    tar.add(program, f"guest/{program.name}", filter=_timeless)
            context.seek(0)
            try:
                built, _ = client.images.build(
                    fileobj=context, custom_context=True, tag=tag or docker_tag(image), nocache=bool(tag), rm=True, forcerm=True, network_mode="none", buildargs={"BASE": base},
                    labels={"ratchet": "image", "ratchet.recipe": recipe_hash(image)},
                )  # fmt: skip
            except DockerException as error:
                if "no space left" in str(error):
                    raise UserError("disk full while building an image; run `docker system prune`") from error
                raise SandboxError(f"building image {image} failed: {str(error).splitlines()[0][:300]}") from error
        return str(built.id)


def _timeless(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if info.name.endswith(("/__pycache__", "/.compiled")):
        return None  # Made by `build_tree` in the same folder; this image makes its own.
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    info.mode |= 0o444 | (0o111 if info.mode & 0o100 or info.isdir() else 0)
    return info


def tree(image: str) -> Tree:
    """The built folders of an image: this machine's own where somebody said so (`host`). Raises UserError when they are not built."""
    if (own := host.registered(image)) is not None:
        return own
    root = images_dir() / f"root-{_base_name(debian_packages(image))}"
    packages = images_dir() / f"site-{image}-{_site_hash(image)}"
    if not root.exists() or not (packages / ".compiled").exists():
        raise UserError(
            f"image {image} is not built for bubblewrap; run `ratchet images build {image} --backend bubblewrap`"
        )
    # The wheels and the guest programs are fixed by the recipe; Debian's mirror is not, so the base's own bytes count.
    digest = combined_hash(recipe_hash(image).encode(), Path(f"{root}.sha256").read_bytes())
    return Tree(root, ((packages, "/opt/site"), (guest_programs(), "/opt/ratchet/guest")), f"sha256:{digest}")


def build_tree(image: str, progress: Progress) -> str:
    """Build (or find) the folders of an image for bubblewrap; returns the digest."""
    if (own := host.registered(image)) is not None:
        return own.digest
    with FileLock(images_dir() / f".{image}.lock"), disk_faults(images_dir()):
        packages = site(image, progress)
        with FileLock(images_dir() / ".root.lock"):
            root = images_dir() / f"root-{_base_name(debian_packages(image))}"
            if not root.exists():
                archive = base_tar(progress, debian_packages(image))
                progress("base: unpacking it for bubblewrap")
                with tempfile.TemporaryDirectory(dir=images_dir(), prefix=".root-") as staging:
                    _run(["tar", "-xf", str(archive), "-C", staging, "--exclude=./dev/*"], "unpacking the base")
                    os.chmod(staging, 0o755)
                    Path(f"{root}.sha256").write_text(debian.sha256(archive))
                    os.replace(staging, root)
                    os.mkdir(staging)  # For the context manager to remove.
        if not (packages / ".compiled").exists():
            progress(f"{image}: byte-compiling")
            enter = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", str(root), "/", "--dev", "/dev"]
            enter += ["--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/opt", "--bind", str(packages), "/opt/site"]
            enter += [
                "--ro-bind",
                str(guest_programs()),
                "/opt/ratchet/guest",
                "--clearenv",
                "--setenv",
                "PATH",
                "/usr/bin",
            ]
            _run([*enter, *COMPILE], f"byte-compiling image {image}")
            (packages / ".compiled").touch()
    return tree(image).digest


def build(factory: Any, image: str, progress: Progress) -> str:
    """Build (or find) an image for a backend's factory; returns its digest."""
    if factory.name == "docker":
        return build_docker(factory.client, image, progress)
    return build_tree(image, progress)
