"""A run that is killed goes on as if nothing had happened: the same bits at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.checkpoint import KEEP, State, Store
from training.lora import Base, new_lora

ROOT = Path(__file__).parents[2]
STEPS = 4


def start(model: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.training.run_steps", str(model), str(folder), str(STEPS)]
    quiet = {**os.environ, "TRANSFORMERS_VERBOSITY": "error"}
    return subprocess.Popen(command, cwd=ROOT, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_at(line: str, model: Path, folder: Path) -> None:
    """SIGKILL the run the moment it says `line`."""
    process = start(model, folder)
    assert process.stdout is not None
    for said in process.stdout:
        if said.strip() == line:
            os.kill(process.pid, signal.SIGKILL)
            break
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors


def finished(process: subprocess.Popen[str]) -> str:
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    return said


def test_a_run_killed_in_mid_step_ends_with_the_same_bits(tiny: Path, tmp_path: Path) -> None:
    """Killed twice, in the middle of step 3 and while step 3 is written; resumed; compared with a run left alone."""
    alone = start(tiny, tmp_path / "alone")
    killed_at("step 3 begins", tiny, tmp_path / "killed")
    finished(alone)
    killed = Store(tmp_path / "killed", tiny, tmp_path / "killed" / "adapters").latest()
    assert killed is not None and killed.step == 2
    killed_at("step 3 saving", tiny, tmp_path / "killed")
    said = finished(start(tiny, tmp_path / "killed"))
    assert "step 1 begins" not in said and f"step {STEPS} saving" in said
    ends = [Store(tmp_path / name, tiny, tmp_path / name / "adapters").latest() for name in ("alone", "killed")]
    left, right = ends
    assert left is not None and right is not None and left.step == right.step == STEPS
    for mine, other in (
        (left.lora.tensors, right.lora.tensors),
        (left.first, right.first),
        (left.second, right.second),
    ):
        assert mine.keys() == other.keys()
        for name, tensor in mine.items():
            np.testing.assert_array_equal(tensor, other[name], strict=True)
    assert any(t.any() for n, t in left.lora.tensors.items() if "lora_B" in n), "it did train"


@pytest.fixture
def store(tiny: Path, tmp_path: Path) -> Store:
    return Store(tmp_path / "states", tiny, tmp_path / "adapters")


def state_of(store: Store, step: int) -> State:
    lora = new_lora(Base.read(store.model), rank=2, alpha=4, seed=step)
    moments = {name: np.full_like(t, step) for name, t in lora.tensors.items()}
    rng = np.random.default_rng(step)
    return State(lora, moments, moments, updates=step, step=step, rng=rng.bit_generator.state)


def test_the_newest_states_are_kept_and_all_adapters(store: Store) -> None:
    for step in range(1, 6):
        store.save(state_of(store, step))
    assert len(list(store.folder.iterdir())) == KEEP
    assert len([f for f in store.adapters.iterdir() if not f.name.startswith(".")]) == 5
    latest = store.latest()
    assert latest is not None and latest.step == 5
    assert np.random.default_rng(5).bit_generator.state == latest.rng


def test_the_same_adapter_has_one_name(store: Store) -> None:
    """The hash is of the content alone: not of the order in which a library happens to write a header."""
    lora = state_of(store, 1).lora
    assert len({store.put(lora).sha for _ in range(20)}) == 1


def test_what_a_killed_writer_left_is_removed(store: Store) -> None:
    store.save(state_of(store, 1))
    (store.folder / ".new-00000002-half.safetensors").write_bytes(b"half")
    again = Store(store.folder, store.model, store.adapters)
    latest = again.latest()
    assert latest is not None and latest.step == 1
    assert not list(store.folder.glob(".new-*"))


def test_a_state_whose_adapter_is_gone_is_refused(store: Store) -> None:
    store.save(state_of(store, 1))
    for folder in store.adapters.iterdir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    with pytest.raises(Exception, match="no adapter"):
        store.latest()
