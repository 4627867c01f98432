"""LoRA adapters on disk: what one may contain, whether it fits a model, and the content-addressed store.

An adapter is a folder in peft's layout, `adapter_config.json` beside `adapter_model.safetensors` with tensors named
`base_model.model.model.layers.<n>.<module>.lora_A.weight` [rank, in] and `….lora_B.weight` [out, rank], float32. The base
model's name and its tokenizer's hash stand in the safetensors metadata (an adapter made elsewhere may lack them). Source of the method: Hu et al. 2021
(arXiv 2106.09685): a linear layer W x becomes W x + (alpha / rank) B A x.

Libraries load much more than this, and several silently drop what they do not know, so everything else is refused here,
with the reason, before any sampler sees it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sandboxes.base import UserError
from sandboxes.cache import cache_dir, disk_faults

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
ORIGIN = "ratchet"
"""Key in the safetensors metadata: JSON with `base` and `tokenizer_sha256`."""
MAX_RANK = 256
MUST_BE_OFF = (
    "use_dora", "modules_to_save", "lora_bias", "use_rslora", "rank_pattern", "alpha_pattern", "layers_to_transform",
    "layer_replication", "fan_in_fan_out", "use_qalora", "alora_invocation_tokens", "trainable_token_indices",
    "target_parameters", "exclude_modules", "megatron_config", "use_bdlora",
)  # fmt: skip
"""Fields of peft's config that change what the adapter computes, and that not all samplers know."""


class AdapterError(UserError):
    """The adapter can't be worn; the message says why."""


class BrokenAdapter(AdapterError):
    """A file is missing, cut short, changed, or holds something that is no finite number."""


class UnsupportedAdapter(AdapterError):
    """It is more than plain LoRA: DoRA, extra modules, biases, …"""


class WrongRank(AdapterError):
    """The tensors do not have the rank that the config says, or more than the sampler was started for."""


class OtherBase(AdapterError):
    """It was trained on another model."""


class OtherTokenizer(AdapterError):
    """It was trained with another tokenizer, so that its tokens mean something else."""


@dataclass(frozen=True)
class Adapter:
    """An adapter on disk whose files were read and agree with each other."""

    sha: str
    """SHA-256 (hex) of the config's bytes, a zero byte, and the weights' bytes: `Candidate.weights`."""
    path: Path
    rank: int
    alpha: float
    targets: tuple[str, ...]
    base: str
    """Name of the base model's folder; empty when the file does not say."""
    tokenizer_sha256: str


def store() -> Path:
    """Where adapters are kept: one folder each, named by the hash of its content."""
    return cache_dir() / "adapters"


def content_hash(folder: Path) -> str:
    """See `Adapter.sha`. Raises BrokenAdapter when a file is missing."""
    try:
        config, weights = (folder / CONFIG).read_bytes(), (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise BrokenAdapter(f"{folder} is no adapter: it needs {CONFIG} and {WEIGHTS} ({error.strerror})") from error
    return hashlib.sha256(config + b"\0" + weights).hexdigest()


def tokenizer_hash(model: Path) -> str:
    """SHA-256 (hex) of a model folder's `tokenizer.json`."""
    return hashlib.sha256((model / "tokenizer.json").read_bytes()).hexdigest()


def write_adapter(
    tensors: Mapping[str, npt.NDArray[np.float32]], *, rank: int, alpha: float, model: Path, root: Path | None = None
) -> Adapter:
    """Put an adapter of the model in folder `model` into the store (or another `root`), atomically.

    The same tensors always get the same name; one that is there already is left as it is. Raises AdapterError when the
    tensors do not fit the model, and UserError when the disk is full.
    """
    targets = sorted({name.rsplit(".", 3)[-3] for name in tensors})
    config: dict[str, Any] = {
        "base_model_name_or_path": model.name, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "init_lora_weights": True, "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha, "lora_dropout": 0.0,
        "modules_to_save": None, "peft_type": "LORA", "r": rank, "target_modules": targets, "task_type": "CAUSAL_LM",
        "use_dora": False, "use_rslora": False,
    }  # fmt: skip
    # One key only: the format keeps several in no fixed order, and then the same tensors would get another hash each time.
    metadata = {ORIGIN: json.dumps({"base": model.name, "tokenizer_sha256": tokenizer_hash(model)}, sort_keys=True)}
    ordered = {name: np.ascontiguousarray(tensors[name], dtype=np.float32) for name in sorted(tensors)}
    root = root or store()
    with disk_faults(root):
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".adapter-", dir=root) as staging:
            folder = Path(staging) / "new"
            folder.mkdir()
            _write(folder / CONFIG, json.dumps(config, indent=1, sort_keys=True).encode())
            _write(folder / WEIGHTS, save(ordered, metadata))
            found = read_adapter(folder)
            check_adapter(found, model)
            target = root / found.sha
            if not _whole(target, found.sha):
                shutil.rmtree(target, ignore_errors=True)
                os.replace(folder, target)
                handle = os.open(root, os.O_RDONLY)
                os.fsync(handle)
                os.close(handle)
    return read_adapter(target)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _whole(folder: Path, sha: str) -> bool:
    try:
        return content_hash(folder) == sha
    except BrokenAdapter:
        return False


def find_adapter(adapter: Path | str) -> Adapter:
    """An adapter by its folder, or by its hash in the store. Raises AdapterError; a stored one must have its hash."""
    if isinstance(adapter, Path):
        return read_adapter(adapter)
    if len(adapter) != 64 or not set(adapter) <= set("0123456789abcdef"):
        raise BrokenAdapter(f"{adapter[:80]!r} is not the SHA-256 of an adapter")
    if not (store() / adapter).is_dir():
        raise BrokenAdapter(f"no adapter {adapter[:12]} in {store()}: train it, or copy its folder there")
    found = read_adapter(store() / adapter)
    if found.sha != adapter:
        raise BrokenAdapter(
            f"the adapter in {found.path} was changed: its content has the hash {found.sha[:12]}; remove it"
        )
    return found


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's config and the shapes and values of its tensors. Raises AdapterError."""
    sha = content_hash(folder)
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        targets, kind = config["target_modules"], config.get("peft_type")
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenAdapter(f"{folder / CONFIG} is no LoRA config: {error!r}") from error
    wrong = [name for name in MUST_BE_OFF if config.get(name)]
    if kind != "LORA" or config.get("bias", "none") != "none" or wrong or not isinstance(targets, list):
        what = wrong or (["bias"] if kind == "LORA" else [f"peft_type {kind}"])
        raise UnsupportedAdapter(
            f"{folder.name[:12]} uses {', '.join(what)}; only plain LoRA on listed modules can be worn"
        )
    tensors, metadata = _tensors(folder)
    _check_tensors(folder, tensors, rank, set(map(str, targets)))
    try:
        origin = json.loads(metadata.get(ORIGIN, "{}"))
        base, tokenizer = str(origin.get("base", "")), str(origin.get("tokenizer_sha256", ""))
    except (ValueError, AttributeError) as error:
        raise BrokenAdapter(f"{folder / WEIGHTS}: its metadata is no JSON object") from error
    return Adapter(sha, folder, rank, alpha, tuple(sorted(map(str, targets))), base, tokenizer)


def tensors_of(adapter: Adapter) -> dict[str, npt.NDArray[np.float32]]:
    """All tensors by name, float32. Raises BrokenAdapter."""
    return _tensors(adapter.path)[0]


def _tensors(folder: Path) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, str]]:
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, file.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        # numpy has no bfloat16: such a file lands here too.
        raise BrokenAdapter(f"{folder / WEIGHTS} is cut short or no float32 safetensors: {error}") from error


def _check_tensors(folder: Path, tensors: Mapping[str, npt.NDArray[np.float32]], rank: int, targets: set[str]) -> None:
    if not tensors or not 0 < rank <= MAX_RANK:
        raise BrokenAdapter(
            f"{folder} has {len(tensors)} tensors and rank {rank}; it needs some, and a rank of 1 to {MAX_RANK}"
        )
    for name, tensor in tensors.items():
        module, _, part = name.removesuffix(".weight").rpartition(".lora_")
        if part not in ("A", "B") or not name.startswith(PREFIX) or module.rpartition(".")[2] not in targets:
            raise UnsupportedAdapter(
                f"{folder.name[:12]} has a tensor {name!r}, which is no lora_A or lora_B of {sorted(targets)}"
            )
        if f"{module}.lora_{'B' if part == 'A' else 'A'}.weight" not in tensors:
            raise BrokenAdapter(f"{folder / WEIGHTS}: {name} has no counterpart")
        if tensor.ndim != 2 or tensor.shape[0 if part == "A" else 1] != rank:
            raise WrongRank(f"{folder.name[:12]} says rank {rank}, and {name} has the shape {list(tensor.shape)}")
        if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
            raise BrokenAdapter(f"{folder / WEIGHTS}: {name} is not float32 or not finite")


def check_adapter(adapter: Adapter, model: Path, max_rank: int = MAX_RANK) -> None:
    """Raise OtherBase, OtherTokenizer or WrongRank unless the adapter fits the model in folder `model`."""
    name = adapter.sha[:12]
    if adapter.rank > max_rank:
        raise WrongRank(f"adapter {name} has rank {adapter.rank}, and the sampler takes at most {max_rank}")
    if adapter.base and adapter.base != model.name:
        raise OtherBase(f"adapter {name} was trained on {adapter.base}, and the model is {model.name}")
    shapes = _linear_shapes(model)
    for tensor_name, tensor in tensors_of(adapter).items():
        module, _, part = tensor_name.removeprefix(PREFIX).removesuffix(".weight").rpartition(".lora_")
        shape = shapes.get(f"{module}.weight")
        if shape is None or tensor.shape[1 if part == "A" else 0] != shape[1 if part == "A" else 0]:
            raise OtherBase(
                f"adapter {name} was trained on another model: {tensor_name} is {list(tensor.shape)}, "
                f"and {model.name} has {list(shape) if shape else 'no such layer'}"
            )
    if adapter.tokenizer_sha256 and adapter.tokenizer_sha256 != tokenizer_hash(model):
        raise OtherTokenizer(f"adapter {name} was trained with another tokenizer than that of {model.name}")


def _linear_shapes(model: Path) -> dict[str, tuple[int, ...]]:
    """Shapes [out, in] of the model's weights by name, read from the file's header only."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in model.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes
