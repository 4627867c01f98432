"""Find a way to run sandboxes: a Docker engine that answers, one that we may start or install, else bubblewrap."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from sandboxes.base import UserError
from sandboxes.cache import cache_dir

Progress = Callable[[str], None]
PACKAGES = ["docker.io", "iptables", "mmdebstrap", "debian-archive-keyring", "bubblewrap", "uidmap"]
START_S = 60


def engine_answers() -> bool:
    """True when a Docker engine answers."""
    from sandboxes.docker import connect

    try:
        connect().close()
    except UserError:
        return False
    return True


def can_install() -> bool:
    """True when we are root on a Debian or Ubuntu machine."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: list[str], progress: Progress) -> None:
    """Install Debian packages. Raises UserError with apt's last line when that fails."""
    progress(f"installing {', '.join(packages)}")
    # DPkg::Lock::Timeout: a fresh cloud machine often runs its own upgrade at first.
    line = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "-qq", "-y"]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update"], ["install", "--no-install-recommends", *packages]):
        done = subprocess.run([*line, *step], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise UserError(f"apt-get {step[0]} failed: {said[:200]}")


def start_engine(progress: Progress) -> bool:
    """Start an installed engine and wait until it answers. False when it does not within a minute."""
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        return False
    progress("starting the Docker engine")
    _forget_dead_engine()
    if os.path.isdir("/run/systemd/system"):
        subprocess.run(["systemctl", "start", "docker"], capture_output=True, check=False)
    else:
        log = (cache_dir() / "dockerd.log").open("ab")
        # It serves the machine, not this command: it must outlive us, so it gets a session of its own.
        subprocess.Popen(["dockerd"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if engine_answers():
            return True
        time.sleep(0.5)
    return False


def _forget_dead_engine() -> None:
    """Remove the pid file of an engine that was killed: a new one refuses to start while that pid is in use by anyone."""
    note = Path("/var/run/docker.pid")
    try:
        if psutil.Process(int(note.read_text())).name() != "dockerd":
            note.unlink()
    except (OSError, ValueError, psutil.NoSuchProcess):
        note.unlink(missing_ok=True)


def ensure_backend(progress: Progress) -> str:
    """The name of a backend that works, after installing or starting what may be. Raises UserError when none can be."""
    missing = [] if shutil.which("mmdebstrap") and shutil.which("bwrap") else PACKAGES[1:]
    if engine_answers():
        if missing and can_install():
            install(missing, progress)
        return "docker"
    if can_install():
        if shutil.which("dockerd") is None:
            install(PACKAGES, progress)
        elif missing:
            install(missing, progress)
        if start_engine(progress):
            return "docker"
        progress(f"no Docker engine could be started (see {cache_dir() / 'dockerd.log'}); using bubblewrap")
    if shutil.which("bwrap") is not None:
        return "bubblewrap"
    raise UserError(
        "no Docker engine answers and bubblewrap is not installed; run `apt-get install bubblewrap` as root"
    )
