"""Where a result came from: the commit, the versions, the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["ratchet-bench", "torch", "jax", "optax", "peft", "numpy", "scipy", "scikit-learn", "transformers",
            "langchain-core", "docker"]  # fmt: skip


class Provenance(BaseModel):
    """Enough to say what was run, and on what."""

    model_config = ConfigDict(frozen=True)

    commit: str
    """Git commit of the checkout, or "unknown" outside one."""
    dirty: bool
    """True when the checkout differed from that commit."""
    python: str
    versions: dict[str, str]
    system: str
    cpu: str
    cores: int
    memory_gib: float
    gpu: str
    """Name of the CUDA device, or "none"."""


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def cpu_name() -> str:
    """The processor as the kernel names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_name() -> str:
    """The CUDA device, asked of the driver's tool so that torch need not be imported for it."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "none"


def provenance() -> Provenance:
    """Look at the checkout and the machine, now."""
    status = _git("status", "--porcelain", "--untracked-files=no")
    return Provenance(
        commit=_git("rev-parse", "HEAD") or "unknown",
        dirty=bool(status) if status is not None else True,
        python=platform.python_version(),
        versions={name: _version(name) for name in PACKAGES},
        system=f"{platform.system()} {platform.release()}",
        cpu=cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpu=gpu_name(),
    )
