"""Adapters that can't be worn are refused with the reason; good ones always get the same name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from agents.models.adapters import (
    CONFIG,
    ORIGIN,
    WEIGHTS,
    Adapter,
    AdapterError,
    BrokenAdapter,
    OtherBase,
    OtherTokenizer,
    UnsupportedAdapter,
    WrongRank,
    check_adapter,
    find_adapter,
    read_adapter,
    tensors_of,
    write_adapter,
)
from agents.models.smollm2 import model_folder
from tests.agents.conftest import random_tensors

pytestmark = pytest.mark.model
Make = Callable[..., Adapter]


@pytest.fixture
def model() -> Path:
    return model_folder(print)


def test_what_was_written_is_read(make: Make, model: Path) -> None:
    found = find_adapter(make(1).sha)
    check_adapter(found, model)
    assert (found.rank, found.alpha, found.base, found.targets) == (
        4,
        8.0,
        model.name,
        ("down_proj", "q_proj", "v_proj"),
    )
    wanted = random_tensors(model, 1, 4, 0.02)
    assert all(np.array_equal(tensors_of(found)[name], wanted[name]) for name in wanted)


def test_a_name_is_the_content(make: Make, shelf: Path) -> None:
    assert make(1).sha == make(1).sha != make(2).sha
    assert sorted(p.name for p in shelf.iterdir()) == sorted({make(1).sha, make(2).sha})


def test_another_process_gives_the_same_name(make: Make, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from tests.agents.conftest import random_tensors; import sys\n"
        "from agents.models.adapters import write_adapter; from agents.models.smollm2 import model_folder\n"
        "m = model_folder(print); t = random_tensors(m, 1, 4, 0.02)\n"
        "print(write_adapter(dict(reversed(t.items())), rank=4, alpha=8, model=m, root=Path(sys.argv[1])).sha)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == make(1).sha


def test_a_damaged_one_in_the_store_is_replaced(make: Make) -> None:
    good = make(1)
    (good.path / WEIGHTS).write_bytes(b"cut")
    assert find_adapter(make(1).sha).sha == good.sha


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_file_that_was_cut_short(make: Make, keep: int) -> None:
    folder = make(1).path
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:keep])
    with pytest.raises(BrokenAdapter, match="cut short"):
        read_adapter(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file(make: Make, name: str) -> None:
    folder = make(1).path
    (folder / name).unlink()
    with pytest.raises(BrokenAdapter, match="it needs adapter_config"):
        read_adapter(folder)


def test_one_that_was_changed_in_the_store(make: Make) -> None:
    found = make(1)
    with (found.path / CONFIG).open("a") as file:
        file.write("\n")
    with pytest.raises(BrokenAdapter, match="was changed"):
        find_adapter(found.sha)


@pytest.mark.parametrize("sha", ["", "../../etc", "a" * 64, "Z" * 64])
def test_a_hash_that_is_none_or_not_there(shelf: Path, sha: str) -> None:
    with pytest.raises(BrokenAdapter):
        find_adapter(sha)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"use_dora": True}, UnsupportedAdapter),
        ({"modules_to_save": ["lm_head"]}, UnsupportedAdapter),
        ({"use_rslora": True}, UnsupportedAdapter),
        ({"rank_pattern": {"q_proj": 8}}, UnsupportedAdapter),
        ({"bias": "all"}, UnsupportedAdapter),
        ({"peft_type": "IA3"}, UnsupportedAdapter),
        ({"target_modules": "all-linear"}, UnsupportedAdapter),
        ({"target_modules": ["q_proj"]}, UnsupportedAdapter),
        ({"r": 8}, WrongRank),
        ({"r": 0}, BrokenAdapter),
        ({"r": None}, BrokenAdapter),
        ({"lora_alpha": "much"}, BrokenAdapter),
    ],
    ids=str,
)
def test_configs_that_not_all_samplers_know(make: Make, change: dict[str, object], error: type[AdapterError]) -> None:
    folder = make(1).path
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(error):
        read_adapter(folder)


def test_tensors_that_are_no_lora(make: Make) -> None:
    found = make(1)
    tensors = tensors_of(found)
    first = next(iter(tensors))
    for wrong, error in (
        ({**tensors, "base_model.model.lm_head.weight": np.zeros((2, 2), np.float32)}, UnsupportedAdapter),
        ({name: value for name, value in tensors.items() if name != first}, BrokenAdapter),
        ({**tensors, first: np.full_like(tensors[first], np.nan)}, BrokenAdapter),
        ({**tensors, first: tensors[first].astype(np.float64)}, BrokenAdapter),
        ({}, BrokenAdapter),
    ):
        save_file(wrong, found.path / WEIGHTS)
        with pytest.raises(error):
            read_adapter(found.path)


def test_rank_above_what_the_sampler_takes(make: Make, model: Path) -> None:
    with pytest.raises(WrongRank, match="takes at most 2"):
        check_adapter(make(1), model, max_rank=2)


def test_another_base_by_name_and_by_shape(make: Make, model: Path) -> None:
    found = make(1)
    tensors = tensors_of(found)
    save_file(tensors, found.path / WEIGHTS, {ORIGIN: json.dumps({"base": "llama-7b"})})
    with pytest.raises(OtherBase, match="was trained on llama-7b"):
        check_adapter(read_adapter(found.path), model)
    wide = {n: np.zeros((4, 4096), np.float32) if "lora_A" in n else t for n, t in tensors.items()}
    with pytest.raises(OtherBase, match="another model"):
        write_adapter(wide, rank=4, alpha=8, model=model)


def test_another_tokenizer(make: Make, model: Path, tmp_path: Path) -> None:
    other = tmp_path / model.name
    other.mkdir()
    for file in model.glob("*.safetensors"):
        (other / file.name).symlink_to(file)
    shutil.copyfile(model / "tokenizer.json", other / "tokenizer.json")
    check_adapter(make(1), other)
    text = (model / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace("<|im_end|>", "<|the_end|>"))
    with pytest.raises(OtherTokenizer):
        check_adapter(make(1), other)
