"""Shapes of the cross entropy, and the inputs of a launch."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.kernels import draws
from benchmarks.kernels.cross_entropy.reference import IGNORED
from benchmarks.kernels.draws import Law
from benchmarks.kernels.problem import Case, Device, Tensors
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.task import Split


@dataclass(frozen=True)
class CrossEntropy(Case):
    """logits [rows, vocab] and one class a row."""

    rows: int
    vocab: int
    dtype: str = "float32"
    law: Law = "normal"

    @property
    def flops(self) -> float:
        """One subtraction and one addition a logit; exponentials are not counted."""
        return 2.0 * self.rows * self.vocab

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """logits and targets."""
        logits = TensorSpec("logits", (self.rows, self.vocab), self.dtype)
        return logits, TensorSpec("targets", (self.rows,), "int64")

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """One loss a row, float32 whatever the logits are."""
        return (TensorSpec("loss", (self.rows,)),)

    @property
    def bytes(self) -> float:
        """Half of it: the rows of ignored targets need not be read, and fewer than half of the rows are."""
        return float(sum(spec.bytes for spec in (*self.inputs, *self.outputs))) / 2


TIMED: dict[Device, dict[Split, tuple[CrossEntropy, ...]]] = {
    "cpu": {
        Split.SEARCH: (
            CrossEntropy(512, 8192),
            CrossEntropy(2048, 2048, law="cauchy"),
            CrossEntropy(128, 32000, "bfloat16"),
        ),
        Split.REPORT: (
            CrossEntropy(384, 10000),
            CrossEntropy(1536, 3000, law="cauchy"),
            CrossEntropy(112, 32768, "bfloat16"),
        ),
    },
    "cuda": {
        Split.SEARCH: (
            CrossEntropy(8192, 32000, "bfloat16"),
            CrossEntropy(32768, 4096, law="cauchy"),
            CrossEntropy(2048, 128256, "bfloat16"),
        ),
        Split.REPORT: (
            CrossEntropy(6144, 50304, "bfloat16"),
            CrossEntropy(24576, 6000, law="cauchy"),
            CrossEntropy(4096, 128256, "bfloat16"),
        ),
    },
}
SMALL = (
    CrossEntropy(7, 33),
    CrossEntropy(3, 1),
    CrossEntropy(5, 4097, law="cauchy"),
    CrossEntropy(16, 300, law="structured"),
    CrossEntropy(24, 513, law="adversarial"),
    CrossEntropy(24, 257, "bfloat16", "adversarial"),
    CrossEntropy(18, 130, "float16", "adversarial"),
)
CHECKED: dict[Device, tuple[CrossEntropy, ...]] = {
    "cpu": SMALL,
    "cuda": (*SMALL, CrossEntropy(1023, 50257, "bfloat16", "adversarial"), CrossEntropy(65537, 127)),
}


def draw(shape: CrossEntropy, generator: torch.Generator) -> Tensors:
    """logits and targets, every tenth target ignored. Adversarial: half of the targets are ignored (at most); rows in turn have logits up
    to 10,000, are constant, or give the target so much that the loss is next to nothing."""  # fmt: skip
    extents = (shape.rows, shape.vocab)
    targets = draws.integers(generator, (shape.rows,), 0, shape.vocab)
    if shape.law != "adversarial":
        logits = draws.values(generator, extents, shape.law, shape.dtype)
        targets[9::10] = IGNORED
        return {"logits": logits, "targets": targets}
    logits = draws.uniform(generator, extents, -1e4, 1e4)
    logits[1::3] = -300.0
    logits[2::3] = draws.normal(generator, logits[2::3].shape)
    sure = torch.arange(2, shape.rows, 3, device=logits.device)
    logits[sure, targets[sure]] = 30.0
    targets[1::2] = IGNORED
    return {"logits": logits, "targets": targets}
