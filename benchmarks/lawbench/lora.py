"""Fine-tune the small language model with LoRA as a classifier of charges, and write its answers to the test file.

    python -m benchmarks.lawbench.lora --minutes 12 --state lora.pt --out lora.jsonl
    ratchet score lawbench lora.jsonl --note "benchmarks/lawbench/lora.py, 12 minutes on two cores"

It is no candidate: it trains with torch on this machine, outside any sandbox, so what `ratchet score` records of it is
`submitted-file`. It learns from the training split of `lawbench` and stops when the time is up, wherever it is then; on two
cores that is a few epochs at most of short pieces of the texts, and the number is what that is worth. With `--state` it can
be killed at any time, and goes on from its last minute when it is started again. LoRA as in Hu et al. 2021 (arXiv:2106.09685), by `peft`, on the attention's queries and values; the head reads the last token.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.lawbench import data
from benchmarks.lawbench.metrics import top_k
from benchmarks.lawbench.predictions import Answer
from benchmarks.lawbench.sheet import as_lines
from results.store import write_atomically
from sandboxes.base import UserError
from sandboxes.cache import cache_dir

RANK, ALPHA = 16, 32
LEARNING_RATE = 1e-3
BATCH = 16
TOP = 5
SAVE_SECONDS = 60.0


def piece(tokens: Sequence[int], length: int) -> list[int]:
    """The middle of a text: after the court's opening formula and before the evidence stands what was done."""
    start = max(0, (len(tokens) - length) // 2)
    return list(tokens[start : start + length])


def batch_of(rows: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """Right-padded ids and mask, [rows, longest]."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def classifier(folder: Path, labels: int) -> tuple[Any, Any]:
    """The tokenizer, and the model with adapters and a fresh head."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    base: Any = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=labels, dtype=torch.float32, local_files_only=True
    )
    base.config.pad_token_id = tokenizer.pad_token_id
    shape = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"],
        modules_to_save=["score"],
    )  # fmt: skip
    return tokenizer, get_peft_model(base, shape)


@dataclass
class Progress:
    """How far training has come: seconds spent, cases seen, and the loss of each update."""

    seconds: float = 0.0
    seen: int = 0
    losses: list[float] = field(default_factory=list)


def save(state: Path, weights: Sequence[torch.Tensor], optimiser: torch.optim.Optimizer, progress: Progress) -> None:
    """Write all that training goes on from; a reader sees the old state or the new one."""
    part = state.with_name(state.name + ".part")
    torch.save(
        {"weights": [w.detach() for w in weights], "optimiser": optimiser.state_dict(), "progress": asdict(progress)},
        part,
    )
    os.replace(part, state)


def restore(state: Path, weights: Sequence[torch.Tensor], optimiser: torch.optim.Optimizer) -> Progress:
    """Go on from `state`. Raises UserError when it is no state of this training."""
    try:
        saved = torch.load(state, weights_only=True)
        for weight, kept in zip(weights, saved["weights"], strict=True):
            weight.data.copy_(kept)
        optimiser.load_state_dict(saved["optimiser"])
        return Progress(**saved["progress"])
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, pickle.UnpicklingError) as error:
        raise UserError(f"{state} is no state of this training; delete it to begin anew") from error


def order_of(epoch: int, cases: int) -> npt.NDArray[np.int64]:
    """The order of the training cases in an epoch, the same whenever it is asked for."""
    return np.random.default_rng([0, epoch]).permutation(cases)


def train(
    model: Any, rows: list[list[int]], targets: list[int], pad: int, seconds: float, state: Path | None = None
) -> Progress:
    """Train until the time is up, in a new order each epoch; goes on from `state` where there is one."""
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.01)
    progress = restore(state, weights, optimiser) if state is not None and state.exists() else Progress()
    batches = len(rows) // BATCH
    last = saved = time.monotonic()
    model.train()
    while progress.seconds < seconds:
        epoch, place = divmod(progress.seen // BATCH, batches)
        chosen = order_of(epoch, len(rows))[place * BATCH : (place + 1) * BATCH]
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - progress.seconds / seconds)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(**batch_of([rows[i] for i in chosen], pad)).logits
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.tensor([targets[i] for i in chosen]))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        now = time.monotonic()
        progress.seconds, last = progress.seconds + now - last, now
        progress.seen += BATCH
        progress.losses.append(float(loss.detach()))
        if len(progress.losses) % 20 == 0:
            mean = np.mean(progress.losses[-20:])
            print(f"{progress.seconds:.0f} s: {progress.seen} cases, loss {mean:.3f}", file=sys.stderr)
        if state is not None and now - saved > SAVE_SECONDS:
            save(state, weights, optimiser, progress)
            last = saved = time.monotonic()
    if state is not None:
        save(state, weights, optimiser, progress)
    return progress


@torch.inference_mode()
def probabilities(model: Any, rows: list[list[int]], pad: int) -> torch.Tensor:
    """Softmax over the charges, float32 [rows, charges]."""
    model.eval()
    made = []
    for start in range(0, len(rows), BATCH):
        with torch.autocast("cpu", torch.bfloat16):
            made.append(model(**batch_of(rows[start : start + BATCH], pad)).logits.float().softmax(-1))
    return torch.cat(made)


def answers(given: torch.Tensor, labels: Sequence[str]) -> list[Answer]:
    """The first charges of each row with their probabilities."""
    values, places = given.double().topk(TOP)
    return [
        Answer(tuple(labels[k] for k in row), tuple(probability))
        for row, probability in zip(places.tolist(), values.tolist(), strict=True)
    ]


def main(words: Sequence[str]) -> None:
    """Train, say what the search split thinks of it, write answers to all cases of the published test file."""
    parser = argparse.ArgumentParser(description="Fine-tune the small language model as a classifier of charges.")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--tokens", type=int, default=96, help="how much of the middle of a text is read")
    parser.add_argument("--state", type=Path, help="where training is saved every minute, and goes on from")
    parser.add_argument("--out", type=Path, default=Path("lora.jsonl"))
    parser.add_argument("--model", type=Path, help="a folder with the weights; the one of `ratchet data fetch model`")
    asked = parser.parse_args(words)
    found = sorted((cache_dir() / "models").glob("smollm2-135m-instruct-*"))
    folder = asked.model or next((path for path in found if path.is_dir()), None)
    if folder is None:
        raise UserError("the model is not here; run `ratchet data fetch model`")
    torch.manual_seed(0)
    law, testing = data.load(), data.published_files().testing
    labels = sorted({case.charge for case in law.train})
    tokenizer, model = classifier(folder, len(labels))

    def rows(cases: Sequence[data.Case]) -> list[list[int]]:
        return [piece(tokenizer(case.text, add_special_tokens=False).input_ids, asked.tokens) for case in cases]

    pad = int(tokenizer.pad_token_id)
    targets = [labels.index(case.charge) for case in law.train]
    done = train(model, rows(law.train), targets, pad, asked.minutes * 60, asked.state)
    loss = np.mean(done.losses[-20:]) if done.losses else float("nan")
    print(f"{done.seen} cases seen ({done.seen / len(law.train):.2f} epochs), last losses {loss:.3f}")
    searched = [answer.charges for answer in answers(probabilities(model, rows(law.search), pad), labels)]
    truth = [case.charge for case in law.search]
    print(f"search split: top-1 {top_k(truth, searched, 1):.4f}, top-5 {top_k(truth, searched, 5):.4f}")
    told = answers(probabilities(model, rows(testing), pad), labels)
    named = {case.key.removeprefix("test/"): answer for case, answer in zip(testing, told, strict=True)}
    print(write_atomically(asked.out, as_lines(named)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        raise SystemExit(f"lora: {error}") from None
