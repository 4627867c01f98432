"""A training run of its own process, for the tests that kill one: `python run_steps.py MODEL FOLDER STEPS`.

It goes on from the newest state in FOLDER, says when a step begins and when it is kept, and ends after STEPS steps.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from tests.training.conftest import drawn
from training.checkpoint import Store
from training.torch_trainer import TorchTrainer
from training.trainer import Settings

SETTINGS = Settings(
    rank=4, alpha=8, dtype="float32", learning_rate=1e-2, deterministic=True, token_budget=64, updates=2
)


def main(model: Path, folder: Path, steps: int) -> None:
    torch.set_num_threads(1)
    trainer, store = TorchTrainer(model, SETTINGS, device="cpu"), Store(folder, model, folder / "adapters")
    state = store.latest()
    if state is not None:
        trainer.restore(state)
    while trainer.step_number < steps:
        # The batch depends on both generators, as sampling would: a resumed run must find them where they were.
        seed = int(trainer.rng.integers(1 << 30)) + int(torch.randint(1 << 30, ()))
        print(f"step {trainer.step_number + 1} begins", flush=True)
        trainer.step(drawn(seed, count=32), "dapo")
        print(f"step {trainer.step_number} saving", flush=True)
        store.save(trainer.state())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
