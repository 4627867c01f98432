"""`ratchet serve-model`: vLLM's OpenAI-compatible server with the local model, on this machine only, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from cli.options import JSON, emit, err, out, spinner
from sandboxes.base import UserError


def serve_model(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of another model in transformers' layout; SmolLM2-135M-Instruct without."),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="float32 (agrees with a float32 trainer) or bfloat16 (faster).")
    ] = "float32",
    max_rank: Annotated[int, typer.Option(min=1, max=256, help="Largest rank of a LoRA adapter.")] = 16,
    cache_gib: Annotated[int, typer.Option(min=1, help="Memory of the key-value cache in GiB.")] = 1,
    python: Annotated[
        Path | None, typer.Option(help="Python of your own environment with vLLM, e.g. its CUDA build.")
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Only make vLLM's environment, then stop.")] = False,
    json: JSON = False,
) -> None:
    """Serve the model with vLLM, with LoRA adapters that can be swapped while it runs.

    The first call makes an environment for vLLM in the cache folder: about a minute and 3.4 GiB. The address is printed
    once the server answers. Ctrl-C, SIGTERM, or the end of this program however it comes, ends all of its processes.

    Example: ratchet serve-model --port 8000
    """
    from agents.models.smollm2 import model_folder
    from agents.models.vllm_server import Settings, environment, serving

    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"no dtype {dtype!r}; there are float32 and bfloat16")
    if model is not None and not (model / "config.json").is_file():
        raise UserError(f"{model} holds no model: it needs config.json, tokenizer.json and safetensors")
    if install:
        with spinner("vllm: looking for its environment") as say:
            made = environment(say)
        if json:
            emit({"python": str(made)})
        else:
            out.print(f"vllm: installed, {made}", markup=False, soft_wrap=True)
        return
    settings = Settings(port=port, dtype=dtype, max_rank=max_rank, cache_gib=cache_gib, python=python)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what is in the background with SIGINT ignored
        signal.signal(number, _interrupt)
    with ExitStack() as stack:
        with spinner("vllm: starting") as say:
            folder = model or model_folder(say)
            server = stack.enter_context(serving(folder, settings, say))
        if json:
            emit({"url": server.url, "pid": server.pid, "model": str(folder), "log": str(server.log)})
            sys.stdout.flush()
        else:
            out.print(f"{server.url} serves {folder.name}; Ctrl-C ends it", markup=False, soft_wrap=True)
        with suppress(KeyboardInterrupt):  # the usual end of a server, and no failure
            while not server.ended():
                time.sleep(0.5)
            raise UserError(f"the server ended by itself; what it said is in {server.log}")
    err.print("stopped; nothing is left running", markup=False)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
