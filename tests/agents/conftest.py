"""The real model in float32, and adapters with random weights for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from agents.models import adapters
from agents.models.adapters import PREFIX, Adapter, write_adapter
from agents.models.smollm2 import model_folder
from agents.models.torch_local import LocalModel

MODULES = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
Tensors = dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]


@pytest.fixture(scope="session")
def exact() -> LocalModel:
    """SmolLM2-135M-Instruct in float32."""
    return LocalModel(model_folder(print), dtype=torch.float32)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store for adapters of its own."""
    monkeypatch.setattr(adapters, "store", lambda: tmp_path / "adapters")
    return tmp_path / "adapters"


@pytest.fixture
def make(shelf: Path) -> Callable[..., Adapter]:
    """`make(seed)`: an adapter of SmolLM2 with random weights, in the store. `size` 0 makes one that changes nothing."""

    def made(seed: int, *, rank: int = 4, size: float = 0.02) -> Adapter:
        return write_adapter(
            random_tensors(model_folder(print), seed, rank, size),
            rank=rank,
            alpha=2.0 * rank,
            model=model_folder(print),
        )

    return made


def random_tensors(model: Path, seed: int, rank: int, size: float) -> Tensors:
    rng = np.random.default_rng(seed)
    made: Tensors = {}
    with safe_open(model / "model.safetensors", framework="numpy") as file:
        for name in sorted(file.keys()):
            module = name.removesuffix(".weight")
            if module.endswith(MODULES):
                rows, columns = file.get_slice(name).get_shape()
                made[f"{PREFIX}{module}.lora_A.weight"] = rng.normal(0, 0.05, (rank, columns)).astype(np.float32)
                made[f"{PREFIX}{module}.lora_B.weight"] = rng.normal(0, size, (rows, rank)).astype(np.float32)
    return made
