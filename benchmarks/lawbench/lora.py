"""Fine-tune the small language model with LoRA as a classifier of charges, and write its answers to the test file.

    python -m benchmarks.lawbench.lora --minutes 45 --state lora.pt --out lora.jsonl
    ratchet score lawbench lora.jsonl --note "benchmarks/lawbench/lora.py, 45 minutes on two cores"

It is no candidate: it trains with torch on this machine, outside any sandbox, so what `ratchet score` records of it is
`submitted-file`. It learns from the training split of `lawbench` and stops when the time is up, wherever it is then.

Read are the model's first layers only: what they say of a Chinese text, averaged over its tokens, tells charges apart better
than what the last layers say, at a fifth of the cost. A linear head is fitted to that first, and then trained on together with adapters
(Kumar et al. 2022, arXiv:2202.10054): LoRA as in Hu et al. 2021 (arXiv:2106.09685), by `peft`, on every matrix of
these layers. Each epoch reads another window of each text; answers are the mean over up to four windows from its beginning to its end.

With `--state` it can be killed at any time, and goes on from its last minute when it is started again.
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

LAYERS = 6
RANK, ALPHA = 16, 32
MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LEARNING_RATE = 5e-4
HEAD_C = 0.01
"""scikit-learn's C of the first head: with 576 standardised features of some 4,700 cases it must be held tight."""
BATCH = 16
WINDOWS = 4
TOP = 5
SAVE_SECONDS = 60.0


def windows(tokens: Sequence[int], length: int, most: int = WINDOWS) -> list[list[int]]:
    """Up to `most` windows of that length, spread evenly from the beginning of a text to its end.

    A short text is one window, whole; if there is to be one of a long text, it is the middle: after the court's opening
    formula and before the evidence stands what was done.
    """
    spare = len(tokens) - length
    if spare <= 0:
        return [list(tokens)]
    count = min(most, -(-len(tokens) // length))
    starts = [spare * i // (count - 1) for i in range(count)] if count > 1 else [spare // 2]
    return [list(tokens[start : start + length]) for start in starts]


def drawn_window(tokens: Sequence[int], length: int, draw: float) -> list[int]:
    """The window that `draw` from [0, 1) points at."""
    start = int(draw * max(1, len(tokens) - length + 1))
    return list(tokens[start : start + length])


def batch_of(rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """Ids, padded on the right with a token that the mask hides, and that mask, both [rows, longest]."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


class Reader(torch.nn.Module):
    """A language model without its last word: the mean of its hidden states over a window, standardised, and a linear head."""

    middle: torch.Tensor
    scale: torch.Tensor

    def __init__(self, base: Any, width: int, labels: int) -> None:
        super().__init__()
        self.base = base
        self.head = torch.nn.Linear(width, labels)
        self.register_buffer("middle", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def pooled(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Means over the tokens, float32 [rows, width]."""
        with torch.autocast("cpu", torch.bfloat16):
            told = self.base(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        seen, hidden = attention_mask.unsqueeze(-1), torch.as_tensor(told.last_hidden_state).float()
        return (hidden * seen).sum(1) / seen.sum(1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits, float32 [rows, labels]."""
        logits: torch.Tensor = self.head((self.pooled(input_ids, attention_mask) - self.middle) / self.scale)
        return logits

    def fit_head(self, features: torch.Tensor, targets: Sequence[int]) -> None:
        """Set the head, and what it standardises by, from features [cases, width] of the untrained model."""
        from sklearn.linear_model import LogisticRegression

        self.middle.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp_min(1e-6))
        fitted = LogisticRegression(C=HEAD_C, max_iter=300)
        fitted.fit(((features - self.middle) / self.scale).numpy(), list(targets))
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(fitted.coef_))
            self.head.bias.copy_(torch.from_numpy(fitted.intercept_))

    def kept(self) -> list[torch.Tensor]:
        """All that training changes."""
        return [*(p for p in self.parameters() if p.requires_grad), self.middle, self.scale]


def reader(folder: Path, labels: int) -> tuple[Any, Reader]:
    """The tokenizer, and the model's first layers with adapters and an empty head."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    base: Any = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    base.layers = base.layers[:LAYERS]
    shape = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(MATRICES))
    return tokenizer, Reader(get_peft_model(base, shape), base.config.hidden_size, labels)


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


def order_of(epoch: int, cases: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The order of the training cases in an epoch, and where the window of each lies; the same whenever it is asked for."""
    draw = np.random.default_rng([0, epoch])
    return draw.permutation(cases), draw.random(cases)


def train(
    model: Reader, texts: Sequence[Sequence[int]], targets: Sequence[int], length: int, seconds: float,
    state: Path | None = None,
) -> Progress:  # fmt: skip
    """Fit the head, then train until the time is up, in a new order each epoch; goes on from `state` where there is one.

    `texts` are tokens of whole cases, of which each epoch reads another window; the head's fit counts as time too.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=0.01)
    last = saved = time.monotonic()
    if state is not None and state.exists():
        progress = restore(state, model.kept(), optimiser)
    else:
        progress = Progress()
        model.fit_head(features(model, [windows(text, length, 1)[0] for text in texts]), targets)
        print(f"head fitted in {time.monotonic() - last:.0f} s", file=sys.stderr)
    batches = len(texts) // BATCH
    model.train()
    while progress.seconds < seconds:
        epoch, place = divmod(progress.seen // BATCH, batches)
        order, draws = order_of(epoch, len(texts))
        chosen = order[place * BATCH : (place + 1) * BATCH]
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - progress.seconds / seconds)
        logits = model(**batch_of([drawn_window(texts[i], length, draws[i]) for i in chosen]))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor([targets[i] for i in chosen]))
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
            save(state, model.kept(), optimiser, progress)
            last = saved = time.monotonic()
    if state is not None:
        save(state, model.kept(), optimiser, progress)
    return progress


@torch.inference_mode()
def features(model: Reader, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """What the head is given of each row before it is standardised, float32 [rows, width]."""
    model.eval()
    return torch.cat([model.pooled(**batch_of(rows[i : i + BATCH])) for i in range(0, len(rows), BATCH)]).clone()


@torch.inference_mode()
def probabilities(model: Reader, texts: Sequence[Sequence[int]], length: int) -> torch.Tensor:
    """Softmax over the charges, the mean over the windows of each text, float32 [texts, charges]."""
    model.eval()
    rows = [(i, window) for i, text in enumerate(texts) for window in windows(text, length)]
    made = []
    for start in range(0, len(rows), BATCH):
        made.append(model(**batch_of([window for _, window in rows[start : start + BATCH]])).softmax(-1))
    owner = torch.tensor([i for i, _ in rows])
    summed = torch.zeros(len(texts), made[0].shape[1]).index_add_(0, owner, torch.cat(made))
    return summed / owner.bincount(minlength=len(texts)).unsqueeze(1)


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
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--tokens", type=int, default=256, help="how much of a text is read at once")
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
    tokenizer, model = reader(folder, len(labels))

    def tokens(cases: Sequence[data.Case]) -> list[list[int]]:
        return [tokenizer(case.text, add_special_tokens=False).input_ids for case in cases]

    targets = [labels.index(case.charge) for case in law.train]
    done = train(model, tokens(law.train), targets, asked.tokens, asked.minutes * 60, asked.state)
    loss = np.mean(done.losses[-20:]) if done.losses else float("nan")
    print(f"{done.seen} cases seen ({done.seen / len(law.train):.2f} epochs), last losses {loss:.3f}")
    searched = [answer.charges for answer in answers(probabilities(model, tokens(law.search), asked.tokens), labels)]
    truth = [case.charge for case in law.search]
    print(f"search split: top-1 {top_k(truth, searched, 1):.4f}, top-5 {top_k(truth, searched, 5):.4f}")
    told = answers(probabilities(model, tokens(testing), asked.tokens), labels)
    named = {case.key.removeprefix("test/"): answer for case, answer in zip(testing, told, strict=True)}
    print(write_atomically(asked.out, as_lines(named)))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        raise SystemExit(f"lora: {error}") from None
