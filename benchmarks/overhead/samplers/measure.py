"""New tokens per second and memory of the samplers: torch, JAX, vLLM, with and without an adapter.

    python -m benchmarks.overhead.samplers.measure torch-float32 … --out FILE.json

Each way runs in a fresh process: 16 continuations of one prompt, at most 64 tokens each; what is counted are the tokens that
came. One batch warms it up (XLA compiles in it), then the counted ones. A second call with the same file adds to it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from results.provenance import provenance

ROOT = Path(__file__).resolve().parents[3]
ROWS, NEW, RANK = 16, 64, 16
WARMUPS, COUNTED = 1, 3
THREADS = 2
WAYS = ("torch-float32", "torch-float32-lora", "torch-bfloat16", "jax-float32", "jax-float32-lora",
        "vllm-float32", "vllm-float32-lora", "vllm-bfloat16")  # fmt: skip
QUESTION = (
    "Write a long story about a ship that crosses a wide sea, its captain, and what they find on the other shore."
)


def measured(way: str) -> dict[str, Any]:
    """Sample in this process: seconds and new tokens of each counted batch, and the peak of resident memory."""
    kind, dtype, *lora = way.split("-")
    with _policy(kind, dtype) as (policy, processes):
        peak = _Peak(processes)
        if lora:
            policy.load_adapter(_adapter())
        prompt = policy.encode_chat([{"role": "user", "content": QUESTION}])
        seconds, tokens = [], []
        for batch in range(WARMUPS + COUNTED):
            begun = time.perf_counter()
            [group] = policy.sample([prompt], ROWS, max_tokens=NEW, seed=batch)
            seconds.append(time.perf_counter() - begun)
            tokens.append(sum(len(c.tokens) for c in group))
        if lora:
            policy.load_adapter(None)
        return {"seconds": seconds, "tokens": tokens, "peak_bytes": peak.stop()}


@contextmanager
def _policy(kind: str, dtype: str) -> Iterator[tuple[Any, list[psutil.Process]]]:
    from agents.models.smollm2 import model_folder

    folder = model_folder(print)
    if kind == "torch":
        import torch

        from agents.models.torch_local import LocalModel
        from agents.models.torch_policy import TorchPolicy

        torch.set_num_threads(THREADS)
        yield TorchPolicy(LocalModel(folder, dtype=getattr(torch, dtype))), [psutil.Process()]
    elif kind == "jax":
        from agents.models.jax_policy import JaxPolicy

        yield JaxPolicy(folder), [psutil.Process()]
    else:
        from agents.models.vllm_policy import VllmPolicy
        from agents.models.vllm_server import Settings, serving

        with serving(folder, Settings(dtype=dtype), lambda text: None) as server:
            guard = psutil.Process(server.pid)
            policy = VllmPolicy(server.url, folder, dtype=dtype)
            yield policy, [guard, *guard.children(recursive=True)]
            policy.close()


def _adapter() -> Path:
    """An adapter on all matrices, random and too small to change what is said by much."""
    import numpy as np
    from safetensors import safe_open

    from agents.models.adapters import PREFIX, write_adapter
    from agents.models.smollm2 import model_folder

    rng, tensors, model = np.random.default_rng(0), {}, model_folder(print)
    with safe_open(model / "model.safetensors", framework="numpy") as file:
        for name in sorted(file.keys()):
            if name.endswith("_proj.weight"):
                rows, columns = file.get_slice(name).get_shape()
                stem = PREFIX + name.removesuffix(".weight")
                tensors[f"{stem}.lora_A.weight"] = rng.normal(0, 0.02, (RANK, columns)).astype(np.float32)
                tensors[f"{stem}.lora_B.weight"] = rng.normal(0, 1e-3, (rows, RANK)).astype(np.float32)
    return write_adapter(tensors, rank=RANK, alpha=2 * RANK, model=model, root=Path(tempfile.mkdtemp())).path


class _Peak:
    """The largest sum of resident memory of some processes, looked at ten times a second."""

    def __init__(self, processes: list[psutil.Process]) -> None:
        self._processes, self._most, self._done = processes, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            # Shared pages count once for each process that maps them; the proportional size would take longer to read.
            self._most = max(self._most, sum(p.memory_info().rss for p in self._processes if p.is_running()))

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._most


def run(way: str) -> dict[str, Any]:
    """One way in a process of its own: the figures as they are kept."""
    load = os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.overhead.samplers.measure", "--inside", way], capture_output=True, text=True,
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": str(THREADS), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{way} failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    rates = [t / s for t, s in zip(found["tokens"], found["seconds"], strict=True)]
    return {
        "way": way, "rows": ROWS, "max_tokens": NEW, "rank": RANK if way.endswith("lora") else 0, "threads": THREADS, **found,
        "warmups": WARMUPS, "tokens_per_second": statistics.median(rates[WARMUPS:]),
        "tokens_per_second_range": [min(rates[WARMUPS:]), max(rates[WARMUPS:])], "load_before": load,
    }  # fmt: skip


def main() -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--inside", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if chosen.inside:
        print(json.dumps(measured(chosen.inside)))
        return
    if not chosen.ways or not set(chosen.ways) <= set(WAYS) or chosen.out is None:
        parser.error(f"name --out and one or more of {', '.join(WAYS)}")
    kept = json.loads(chosen.out.read_text()) if chosen.out.exists() else {"figures": []}
    for way in chosen.ways:
        figure = run(way)
        kept["figures"] = [f for f in kept["figures"] if f["way"] != way] + [figure]
        print(f"{way}: {figure['tokens_per_second']:.0f} new tokens/s, {figure['peak_bytes'] / 2**30:.2f} GiB at most")
    kept["provenance"] = provenance().model_dump()
    chosen.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
