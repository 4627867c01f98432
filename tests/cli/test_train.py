"""`ratchet train`: the real model, real sandboxes, a kill, and the mistakes a user can make."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.models.adapters import find_adapter
from agents.models.smollm2 import model_folder
from tests.cli.test_cli import ROOT, ratchet
from training.checkpoint import Store
from training.rollouts import read_played
from training.torch_trainer import TorchTrainer
from training.trainer import Settings


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--task", "denosing"], "did you mean 'denoising'"),
        (["--task", "denoising", "--objective", "ppo"], "mean_baseline"),
        (["--task", "denoising", "--trainer", "tf"], "there are torch, jax"),
        (["--task", "denoising", "--actions", "all"], "there are auto, choice"),
        (["--task", "denoising", "--learning-rate", "nan"], "learning_rate must be a positive number"),
        (["--task", "denoising", "--temperature", "0"], "temperature"),
        (["--task", "denoising", "--url", "http://127.0.0.1:1"], "--sampler vllm"),
    ],
)
def test_a_users_mistake_is_one_line_and_leaves_no_run(words: list[str], hint: str, tmp_path: Path) -> None:
    done = ratchet("train", *words, "--out", str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert hint in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


WORDS = ["train", "--task", "denoising", "--rounds", "2", "--group", "4", "--states", "1", "--rank", "4", "--json"]


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.sandbox
def test_two_rounds_killed_in_the_first_update_and_resumed(tmp_path: Path) -> None:
    words = [*WORDS, "--out", str(tmp_path), "--resume"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 300
    while not (first := list(tmp_path.glob("*/rounds/0001.json"))) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert first and not list(tmp_path.glob("*/state/*.safetensors")), "killed before the first update was kept"
    kept = first[0].read_bytes()

    done = ratchet(*words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    try:
        assert first[0].read_bytes() == kept, "what was scored before the kill is not scored again"
        check(told, json.loads(kept))
        if told["rounds"][0]["adapter"]:
            assert weights_after(first[0], tmp_path) == told["rounds"][0]["adapter"], "the kill changed the weights"
    finally:
        for line in told["rounds"]:
            if line["adapter"]:
                shutil.rmtree(find_adapter(line["adapter"]).path)


def weights_after(played: Path, folder: Path) -> str:
    """The hash of the adapter that round 1's rewards lead to in a run that nobody killed, in another process."""
    model = model_folder(print)
    trainer = TorchTrainer(model, Settings(rank=4, alpha=8, longest_answer=32, dtype="float32"))
    trainer.step(read_played(played).rollouts(1))
    return Store(folder / "again", model, folder / "adapters").put(trainer.lora()).sha


def check(told: dict[str, object], first: dict[str, list[dict[str, float]]]) -> None:
    rounds: list[dict[str, object]] = told["rounds"]  # type: ignore[assignment]
    assert [r["number"] for r in rounds] == [1, 2]
    rewards = [a["reward"] for a in first["attempts"]]
    assert rounds[0]["reward"] == pytest.approx(sum(rewards) / len(rewards))
    assert all(r["valid"] == r["actions"] == 4 for r in rounds), "a constrained choice is always valid"
    assert rounds[0]["acting"] is None and rounds[1]["acting"] == rounds[0]["adapter"] and told["stopped"] == ""
    for line in rounds:
        skipped = line["stats"]["skipped"]  # type: ignore[index]
        assert (line["sync"] is None) == bool(skipped)
        if not skipped:
            assert line["sync"]["after"] < line["sync"]["before"], "the sampler came nearer to the trainer"  # type: ignore[index]
    if rounds[0]["adapter"]:
        assert told["adapter"] == rounds[1]["adapter"] and rounds[1]["kl_start"] > 0  # type: ignore[operator]
    folder = Path(str(told["folder"]))
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    assert len((folder / "rounds.jsonl").read_text().splitlines()) == 2
    assert "attempt" in (folder / "trace.jsonl").read_text()
    assert "def denoise" in (folder / "best.py").read_text()
