"""One way of ours, in a process of its own: `python -m benchmarks.overhead.updates.ours torch|jax MODEL WORK.json`.

Prints one line of JSON: wall and processor seconds of each update, and the process's largest resident size.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from training.rollout import Rollout
from training.trainer import Settings


def main(framework: str, model: Path, work: Path) -> None:
    """Make the updates that WORK.json describes (`work.Work`); the first ones, where XLA compiles, are told apart later."""
    told = json.loads(work.read_text())
    settings = Settings(
        rank=told["rank"], alpha=told["alpha"], dtype=told["dtype"], gradient_checkpointing=told["checkpointing"],
        token_budget=told["rows"] * (told["prompt"] + told["completion"]),
    )  # fmt: skip
    if framework == "torch":
        import torch

        from training.torch_trainer import TorchTrainer

        torch.set_num_threads(told["threads"])
        trainer: TorchTrainer | JaxTrainer = TorchTrainer(model, settings, device="cpu")
    else:
        from training.jax_trainer import JaxTrainer

        trainer = JaxTrainer(model, settings)
    rollouts = [
        Rollout(tuple(p), tuple(c), (-10.0,) * len(c), r, "g")
        for p, c, r in zip(told["prompts"], told["completions"], told["rewards"], strict=True)
    ]
    seconds, cpu = [], []
    for _ in range(told["warmups"] + told["steps"]):
        begun = time.process_time()
        seconds.append(trainer.step(rollouts).seconds)
        cpu.append(time.process_time() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
