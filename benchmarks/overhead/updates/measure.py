"""Tokens per second and memory of one training update: our torch trainer, our JAX trainer, TRL's GRPOTrainer.

    python -m benchmarks.overhead.updates.measure torch trl jax --out FILE.json [--dtype bfloat16] [--checkpointing]

Each way runs in a fresh process on the same model, batch and lengths, one after the other; a second call with the same
file adds to it. TRL lives in an environment of its own in the cache folder, made on first use from `requirements.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results.provenance import provenance
from sandboxes.base import UserError
from sandboxes.cache import cache_dir

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
WAYS = ("torch", "jax", "trl")


@dataclass(frozen=True)
class Work:
    """What is trained on: `rows` sequences of `prompt` + `completion` random tokens, all trained after the prompt."""

    rows: int = 8
    prompt: int = 128
    completion: int = 128
    rank: int = 16
    alpha: int = 32
    dtype: str = "float32"
    checkpointing: bool = False
    threads: int = 1
    """With one, processor time is what the update needs, whatever else the machine does; more spin while they wait."""
    warmups: int = 1
    """Updates that are not counted."""
    steps: int = 3

    @property
    def tokens(self) -> int:
        """Of one update, prompts included."""
        return self.rows * (self.prompt + self.completion)

    def given(self) -> dict[str, Any]:
        """The numbers, and the batch that they describe."""
        rng = np.random.default_rng(0)
        draw = [rng.integers(3, 49_000, (self.rows, length)).tolist() for length in (self.prompt, self.completion)]
        rewards = [float(i % 3) for i in range(self.rows)]
        return asdict(self) | {"prompts": draw[0], "completions": draw[1], "rewards": rewards}


def trl_python() -> Path:
    """The Python of TRL's environment, which is made when it is missing. Raises UserError."""
    folder = cache_dir() / "venvs" / "trl"
    if not (folder / "bin" / "python").exists():
        print("making TRL's environment (about a minute)", file=sys.stderr)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(HERE / "requirements.txt")]
        for command in ([sys.executable, "-m", "venv", str(folder)], pip):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"TRL's environment can't be made: {done.stderr.strip().splitlines()[-1]}")
    return folder / "bin" / "python"


def run(way: str, work: Work, model: Path) -> dict[str, Any]:
    """Wall and processor seconds of each counted update, tokens per second of the median one and their range, `peak_bytes`."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "work.json"
        file.write_text(json.dumps(work.given()))
        if way == "trl":
            command = [str(trl_python()), str(HERE / "trl_grpo.py"), str(model), str(file)]
        else:
            command = [sys.executable, "-m", "benchmarks.overhead.updates.ours", way, str(model), str(file)]
        quiet = {
            **os.environ,
            "OMP_NUM_THREADS": str(work.threads),
            "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={str(work.threads > 1).lower()} {os.environ.get('XLA_FLAGS', '')}",
            "TRL_EXPERIMENTAL_SILENCE": "1",
            "HF_HUB_OFFLINE": "1",
        }
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=quiet)
    if done.returncode:
        raise RuntimeError(f"{way} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    counted = found["seconds"][work.warmups :]
    return {
        "way": way, "work": asdict(work), "warmup_seconds": found["seconds"][: work.warmups], "seconds": counted,
        "cpu_seconds": found["cpu_seconds"][work.warmups :],
        "tokens_per_second": work.tokens / statistics.median(counted),
        "tokens_per_cpu_second": work.tokens / statistics.median(found["cpu_seconds"][work.warmups :]), "peak_bytes": found["peak_bytes"],
        "tokens_per_second_range": [work.tokens / max(counted), work.tokens / min(counted)], "load_before": load,
    }  # fmt: skip


def main() -> None:
    """The command line; see the module's docstring."""
    from agents.models.smollm2 import model_folder

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ways", nargs="+", choices=WAYS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    work = Work(dtype=chosen.dtype, checkpointing=chosen.checkpointing, steps=chosen.steps, threads=chosen.threads)
    kept = json.loads(chosen.out.read_text()) if chosen.out.exists() else {"figures": []}
    for way in chosen.ways:
        figure = run(way, work, model_folder(print))
        kept["figures"].append(figure)
        kept["provenance"] = provenance().model_dump()
        kept["trl_environment"] = (HERE / "requirements.txt").read_text().split()
        chosen.out.write_text(json.dumps(kept, indent=1) + "\n")
        print(
            f"{way}: {figure['tokens_per_second']:.0f} tokens/s, "
            f"{figure['tokens_per_cpu_second']:.0f} per processor second, {figure['peak_bytes'] / 2**30:.2f} GiB at most"
        )


if __name__ == "__main__":
    main()
