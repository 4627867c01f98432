"""An image made of this machine's own Python, for where none can be built: a cluster's node without network that has a PyTorch.

    ratchet images build kernels-cuda --host       # from now on, in bubblewrap, on this machine
    ratchet images build kernels-cuda --no-host    # back to the locked one

The sandbox sees /usr, the interpreter that runs `ratchet` and the folder that its torch lies in, all read-only, and an /etc of ours.
Nothing is locked, so the digest in a record begins with `host:`, and covers the versions and file hashes that pip and dpkg have on record.
Only kernels may run in one: their answers follow from secret seeds, while those of other domains could lie in some package of the host.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from sandboxes.base import MIB, Limits, SandboxFactory, UserError
from sandboxes.cache import disk_faults, images_dir
from sandboxes.tree import Tree, combined_hash, guest_programs

IMAGES = ("kernels", "kernels-cuda")
NEEDED = ("torch", "numpy")
USERS = "root:x:0:0::/:/bin/false\nnobody:x:65534:65534::/scratch:/bin/false\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"
OF_ETC = ("alternatives", "ld.so.cache")
"""What programs need of the host's /etc: where `cc` points to, and where libraries lie."""
OF_THE_ROOT = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
MOUNT_POINTS = ("srv", "mnt", "media")
DPKG = Path("/var/lib/dpkg/status")
TRIAL = f"import {', '.join(NEEDED)}"


def _registration(image: str) -> Path:
    return images_dir() / f"host-{image}.json"


def registered(image: str) -> Tree | None:
    """The tree of an image that this machine's Python stands in for; None where nobody said so."""
    try:
        said = json.loads(_registration(image).read_text())
    except FileNotFoundError:
        return None
    return _tree(Path(said["python"]), Path(said["prefix"]), Path(said["site"]))


def unregister(image: str) -> None:
    """Go back to the locked image."""
    _registration(image).unlink(missing_ok=True)


def stand_in(factory: SandboxFactory, image: str) -> None:
    """Let the interpreter that runs us, and the packages beside its torch, be an image on this machine.

    Raises UserError for another domain's image or another backend, and where the packages are missing or don't load in a sandbox.
    """
    if factory.name != "bubblewrap":
        raise UserError("only bubblewrap can show a candidate this machine's own Python; use --backend bubblewrap")
    if image not in IMAGES:
        raise UserError(
            f"only {' and '.join(IMAGES)} can be this machine's own: it may hold the answers of other domains"
        )
    places = {name: importlib.util.find_spec(name) for name in NEEDED}
    folders = {Path(spec.origin).parent.parent for spec in places.values() if spec is not None and spec.origin}
    if None in places.values() or len(folders) != 1:
        missing = [name for name, spec in places.items() if spec is None]
        why = f"has no {' and no '.join(missing)}" if missing else f"has {' and '.join(NEEDED)} in different folders"
        raise UserError(f"{sys.executable} {why}; run ratchet with a Python that has them side by side")
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    said = {"python": python, "prefix": Path(sys.base_prefix), "site": folders.pop()}
    with disk_faults(images_dir()):
        _registration(image).write_text(json.dumps({name: str(path) for name, path in said.items()}))
    try:
        _try_out(factory, image)
    except BaseException:
        unregister(image)
        raise


@functools.cache
def _tree(python: Path, prefix: Path, site: Path) -> Tree:
    with disk_faults(images_dir()):
        root = _root(python)
    binds = [(Path("/usr"), "/usr"), (root / "opt", "/opt/python/bin"), (site, "/opt/site")]
    if not prefix.is_relative_to("/usr"):
        binds.append((prefix, str(prefix)))
    return Tree(root, (*binds, (guest_programs(), "/opt/ratchet/guest")), f"host:{_digest(site)}")


def _root(python: Path) -> Path:
    """A root file system with nothing in it but links, mount points and an /etc; `python3` is our interpreter."""
    done = images_dir() / f"root-host-{combined_hash(str(python).encode(), _library_index())[:16]}"
    if done.exists():
        return done
    with tempfile.TemporaryDirectory(dir=images_dir(), prefix=".root-") as staging:
        made = Path(staging)
        for name in OF_THE_ROOT:
            ours = Path("/") / name
            if ours.is_symlink():
                (made / name).symlink_to(os.readlink(ours))
            elif ours.is_dir():
                raise UserError(f"/{name} is no link into /usr, as it is in Linux distributions since about 2020")
        for name in (*MOUNT_POINTS, "etc", "opt"):
            (made / name).mkdir()
        (made / "opt" / "python3").symlink_to(python)
        for name in OF_ETC:
            ours = Path("/etc") / name
            if ours.is_dir():
                shutil.copytree(ours, made / "etc" / name, symlinks=True)
            elif ours.exists():
                shutil.copyfile(ours, made / "etc" / name)
        (made / "etc" / "passwd").write_text(USERS)
        (made / "etc" / "group").write_text(GROUPS)
        _open_to_all(made)
        os.replace(made, done)
        os.mkdir(staging)  # For the context manager to remove.
    return done


def _library_index() -> bytes:
    """What the loader knows of libraries; another one makes another root."""
    index = Path("/etc/ld.so.cache")
    return index.read_bytes() if index.exists() else b""


def _open_to_all(folder: Path) -> None:
    """Let the candidate's user read it, whatever our umask is."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _digest(site: Path) -> str:
    """Over Python, libc, what dpkg has installed, and the names, versions and file hashes of the packages in `site`."""
    records = sorted(site.glob("*.dist-info/RECORD"))
    parts = [part for record in records for part in (record.parent.name.encode(), record.read_bytes())]
    system = DPKG.read_bytes() if DPKG.exists() else b""
    return combined_hash(sys.version.encode(), "".join(platform.libc_ver()).encode(), system, *parts)


def _try_out(factory: SandboxFactory, image: str) -> None:
    """Load the packages where candidates will. Raises UserError with the reason when they don't."""
    from sandboxes.session import open_session  # Sessions stand on images, and images on this file.

    with open_session(factory, image, Limits(memory_bytes=2048 * MIB, wall_s=120.0)) as box:
        done = box.exec(["python3", "-c", TRIAL])
    if not done.succeeded:
        said = (done.stderr.decode("utf-8", "replace").strip() or "no reason given").splitlines()[-1][:300]
        raise UserError(f"this machine's own Python does not load {' and '.join(NEEDED)} in a sandbox: {said}")
