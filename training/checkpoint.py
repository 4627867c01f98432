"""What survives a kill: the adapters, named by their content, and the newest states of a training run.

    <adapters>/<sha256>/                        `agents.models.adapters`: every adapter that was put, for good
    <folder>/<step>-<sha256>.safetensors        optimiser and RNG, and the hash of the adapter they go with; the newest few

A state is written beside its place, flushed to the disk, and renamed into it after its adapter is whole; so what `latest`
finds is complete, whenever the process died.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from agents.models.adapters import Adapter, store, write_adapter
from sandboxes.base import UserError
from sandboxes.cache import disk_faults
from training.lora import Lora, Tensors, read_lora

KEEP = 2
"""States kept: the newest, and one to fall back to."""


@dataclass(frozen=True)
class State:
    """All that the next step depends on. Torch and JAX use the same names, so one can go on where the other stopped."""

    lora: Lora
    first: Tensors
    """AdamW's running mean of the gradient, by the adapter's names."""
    second: Tensors
    """AdamW's running mean of its square."""
    updates: int
    """Optimiser steps so far."""
    step: int
    """Batches so far."""
    rng: Mapping[str, Any]
    """The state of the trainer's numpy generator."""
    torch_rng: NDArray[np.uint8] | None = None
    """The state of torch's CPU generator, where torch is the trainer."""


class Store:
    """One training run's states, in `folder`, for adapters of the base model in folder `model`. A run is its only writer."""

    def __init__(self, folder: Path, model: Path, adapters: Path | None = None) -> None:
        """`adapters`: where adapters are kept; None is the store that the samplers look in."""
        self.folder, self.model, self.adapters = folder, model, adapters or store()
        with disk_faults(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".new-*"):  # by a run that was killed while it wrote
                left.unlink(missing_ok=True)

    def put(self, lora: Lora) -> Adapter:
        """Keep an adapter. Putting it again changes nothing."""
        return write_adapter(lora.tensors, rank=lora.rank, alpha=lora.alpha, model=self.model, root=self.adapters)

    def save(self, state: State) -> Path:
        """Keep a state and its adapter; the oldest states go. Returns the state's file."""
        adapter = self.put(state.lora)
        tensors: dict[str, NDArray[Any]] = {f"first.{name}": t for name, t in state.first.items()}
        tensors |= {f"second.{name}": t for name, t in state.second.items()}
        if state.torch_rng is not None:
            tensors["torch_rng"] = state.torch_rng
        told = {"adapter": adapter.sha, "updates": state.updates, "step": state.step, "rng": dict(state.rng)}
        content = save(tensors, {"state": json.dumps(told)})
        name = f"{state.step:08d}-{hashlib.sha256(content).hexdigest()}.safetensors"
        with disk_faults(self.folder):
            staging = self.folder / f".new-{name}"
            with staging.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(staging, self.folder / name)
            _flush_names(self.folder)
        for old in [f for f in self._files() if f.name != name][: -(KEEP - 1)]:
            old.unlink(missing_ok=True)
        return self.folder / name

    def latest(self) -> State | None:
        """The newest state, or None when there is none. Raises UserError when it or its adapter was changed or cut."""
        files = self._files()
        if not files:
            return None
        content = files[-1].read_bytes()
        if hashlib.sha256(content).hexdigest() != files[-1].stem.partition("-")[2]:
            raise UserError(f"{files[-1]} was changed or cut; delete it to go on from the state before")
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        told = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["state"])
        return State(
            lora=read_lora(self.adapters / told["adapter"], self.model),
            first={n.removeprefix("first."): t for n, t in tensors.items() if n.startswith("first.")},
            second={n.removeprefix("second."): t for n, t in tensors.items() if n.startswith("second.")},
            updates=told["updates"],
            step=told["step"],
            rng=told["rng"],
            torch_rng=tensors.get("torch_rng"),
        )

    def _files(self) -> list[Path]:
        """States, the oldest first."""
        return sorted(self.folder.glob("[0-9]*.safetensors"), key=lambda f: (f.name[:8], f.stat().st_mtime_ns))


def _flush_names(folder: Path) -> None:
    """Have a folder's names on the disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
