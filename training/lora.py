"""A LoRA adapter (Hu et al. 2021, arXiv 2106.09685) in memory, and the base model that it is made for.

On disk it is `agents.models.adapters`: both trainers, the samplers and peft read and write the same two files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from agents.models.adapters import PREFIX, WrongRank, check_adapter, find_adapter, tensors_of
from sandboxes.base import UserError

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Every matrix of every layer: attention alone learns worse."""
_LAYER = re.compile(r"(.+\.(?:" + "|".join(TARGETS) + r"))\.weight")

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Base:
    """The model that adapters are made for, as its files describe it."""

    folder: Path
    vocabulary: int
    longest: int
    """Tokens of the longest sequence that the model takes."""
    shapes: Mapping[str, tuple[int, int]]
    """(out, in) of each matrix that an adapter changes, by its name in the model."""

    @classmethod
    def read(cls, folder: Path) -> Base:
        """Look at a folder with `config.json` and safetensors; no weights are read. Raises UserError."""
        files = sorted(folder.glob("*.safetensors"))
        if not files or not (folder / "config.json").is_file():
            raise UserError(f"{folder} holds no model: it needs config.json and *.safetensors")
        shapes: dict[str, tuple[int, int]] = {}
        for file in files:
            try:
                with safe_open(file, framework="numpy") as tensors:
                    for name in tensors.keys():  # noqa: SIM118 - not a mapping
                        if found := _LAYER.fullmatch(name):
                            shapes[found[1]] = tuple(tensors.get_slice(name).get_shape())
            except SafetensorError as error:
                raise UserError(f"{file} can't be read ({error}); fetch the model again") from None
        if not shapes:
            raise UserError(f"{folder} has none of the layers {', '.join(TARGETS)}: only Llama-like models are trained")
        config = json.loads((folder / "config.json").read_text())
        return cls(folder, int(config["vocab_size"]), int(config["max_position_embeddings"]), shapes)


@dataclass(frozen=True)
class Lora:
    """Matrices A [rank, in] and B [out, rank] of each layer by peft's names, float32. A layer adds alpha / rank · B A x."""

    tensors: Tensors
    rank: int
    alpha: float

    @property
    def scale(self) -> float:
        """The factor of B A x."""
        return self.alpha / self.rank

    def check(self, base: Base, rank: int, alpha: float) -> None:
        """Raise UserError unless the adapter has this rank and alpha and changes the layers that a trainer changes."""
        if (self.rank, self.alpha) != (rank, alpha):
            raise WrongRank(
                f"this adapter has rank {self.rank} and alpha {self.alpha:g}, the trainer rank {rank} and alpha "
                f"{alpha:g}; start the trainer with the adapter's"
            )
        wanted = shapes_of(base, rank)
        for name, shape in wanted.items():
            found = self.tensors[name].shape if name in self.tensors else None
            if found != shape:
                raise UserError(f"this adapter can't be trained here: {name} has shape {found}, and {shape} is needed")
        if extra := set(self.tensors) - set(wanted):
            raise UserError(f"this adapter can't be trained here: it changes {min(extra)}, which is not trained")


def new_lora(base: Base, *, rank: int, alpha: float, seed: int) -> Lora:
    """An adapter that changes nothing yet: A uniform in ±1/sqrt(in) as peft draws it, B zero."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, shape in shapes_of(base, rank).items():
        tensors[name] = np.zeros(shape, np.float32)
        if name.endswith("lora_A.weight"):
            tensors[name] = rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(math.sqrt(shape[1]))
    return Lora(tensors, rank, alpha)


def read_lora(adapter: Path | str, model: Path) -> Lora:
    """The adapter in that folder, or of that hash in the store. Raises AdapterError unless it fits `model`."""
    found = find_adapter(adapter)
    check_adapter(found, model)
    return Lora(tensors_of(found), found.rank, found.alpha)


def shapes_of(base: Base, rank: int) -> dict[str, tuple[int, int]]:
    """Shape of each tensor of an adapter, by its name, in a fixed order."""
    made: dict[str, tuple[int, int]] = {}
    for module in sorted(base.shapes):
        out, into = base.shapes[module]
        made[f"{PREFIX}{module}.lora_A.weight"] = (rank, into)
        made[f"{PREFIX}{module}.lora_B.weight"] = (out, rank)
    return made
