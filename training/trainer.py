"""What the torch and the JAX trainer share: settings, statistics, and the order of things within one step.

Simplifications, on purpose: one constant learning rate; no dropout, so that sampler and trainer agree; no value network;
no reference copy of the model, because the base is the model with its adapter switched off.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sandboxes.base import UserError
from training.checkpoint import State
from training.lora import Base, Lora, new_lora, read_lora
from training.objectives import DEFAULT, Objective, fold_kl, kl_estimate, objective
from training.rollout import Batch, Floats, Rollout, make_batch, micro_batches, scoring_batch


@dataclass(frozen=True)
class Settings:
    """How a trainer trains. Raises UserError for a value that can't work."""

    rank: int = 16
    alpha: int = 32
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    """The gradient's largest norm."""
    temperature: float = 1.0
    """That the sampler divides its logits by: the policy that is trained is the one that samples."""
    updates: int = 1
    """Optimiser steps on each batch; with more than one, take an objective that clips."""
    token_budget: int = 2048
    """Padded tokens of one forward and backward pass. Memory grows with it; the result does not depend on it."""
    longest_answer: int = 256
    """Tokens; the divisor of objectives that average by a constant."""
    gradient_checkpointing: bool = False
    """Compute activations twice and keep few of them: less memory, about a third more time."""
    dtype: str = "auto"
    """Of the frozen base: float32, bfloat16, or auto: bfloat16 where the hardware multiplies it natively. The adapter and
    its optimiser are always float32."""
    seed: int = 0
    deterministic: bool = False
    """Only algorithms that give the same bits each time on the same machine with the same number of threads."""

    def __post_init__(self) -> None:
        positive = {"rank": self.rank, "alpha": self.alpha, "learning_rate": self.learning_rate, "updates": self.updates,
                    "clip_norm": self.clip_norm, "temperature": self.temperature,
                     "token_budget": self.token_budget, "longest_answer": self.longest_answer}  # fmt: skip
        for name, value in positive.items():
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} must be a positive number, not {value}")
        if self.dtype not in ("auto", "float32", "bfloat16"):
            raise UserError(f"dtype is auto, float32 or bfloat16, not {self.dtype!r}")


class TrainingStopped(Exception):
    """The update was not made because its result is not finite. `lora` is the last good adapter; the trainer still holds it."""

    def __init__(self, reason: str, lora: Lora) -> None:
        super().__init__(f"{reason}; the adapter is still the one before this update")
        self.reason, self.lora = reason, lora


@dataclass(frozen=True)
class Stats:
    """One step in numbers. Means are over trained tokens, in nats; of several updates the last one's."""

    step: int
    loss: float = 0.0
    grad_norm: float = 0.0
    """Before clipping."""
    entropy: float = 0.0
    """Of the policy's next-token distribution."""
    kl_sampler: float = 0.0
    """KL(sampler ‖ trainer): near 0 when the sampler has the trainer's weights."""
    kl_base: float | None = None
    """KL(trainer ‖ base); None when the objective does not look at the base."""
    reward: float = 0.0
    """Mean over all rollouts."""
    tokens: int = 0
    """Tokens of the sequences in the update, prompts included, padding not."""
    trained_tokens: int = 0
    seconds: float = 0.0
    silent: int = 0
    """Rollouts whose group says nothing: all rewards equal."""
    skipped: str = ""
    """Why no step was made; "" when one was."""

    @property
    def tokens_per_second(self) -> float:
        """Tokens of all updates over wall time."""
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass
class Sums:
    """Running totals over the micro-batches of one update."""

    loss: float = 0.0
    entropy: float = 0.0
    kl_sampler: float = 0.0


class Trainer(ABC):
    """A base model with one LoRA adapter that changes. Not safe to use from two threads."""

    shares_prompts = False
    """True when a prompt that rows share costs one pass, so that they should come in one micro-batch."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Load the model in `folder`. Raises UserError."""
        self.settings, self.base = settings, Base.read(folder)
        self.step_number = self.update_number = 0
        self.rng = np.random.default_rng(settings.seed)
        self.fresh = new_lora(self.base, rank=settings.rank, alpha=settings.alpha, seed=settings.seed)

    # -- what a framework has to do ------------------------------------------------------------------------------

    @abstractmethod
    def _score(self, batch: Batch, *, base: bool) -> Floats:
        """Log-probabilities [N, T] of one micro-batch, no gradient; `base`: with the adapter switched off."""

    @abstractmethod
    def _accumulate(self, batch: Batch, old: Floats | None, reference: Floats, chosen: Objective, sums: Sums) -> None:
        """Add one micro-batch's gradient to the running one, and its numbers to `sums`.

        old: log-probabilities [N, T] before the first update, None where they are the present ones; reference: the base's.
        """

    @abstractmethod
    def _gradient_norm(self) -> float:
        """Of the running gradient."""

    @abstractmethod
    def _update(self) -> None:
        """Clip the running gradient, make one AdamW step, forget the gradient."""

    @abstractmethod
    def _forget(self) -> None:
        """Forget the running gradient."""

    @abstractmethod
    def lora(self) -> Lora:
        """A copy of the adapter as it is now."""

    @abstractmethod
    def _set_lora(self, lora: Lora) -> None:
        """Take these tensors; the optimiser starts anew."""

    @abstractmethod
    def state(self) -> State:
        """All that the next step depends on."""

    @abstractmethod
    def _set_moments(self, state: State) -> None:
        """Take the optimiser's state, and the framework's RNG where it has one."""

    # -- what they share -----------------------------------------------------------------------------------------

    def load(self, adapter: Lora | Path | str) -> None:
        """Go on from this adapter (or that folder, or that hash in the store) with a fresh optimiser.

        Raises UserError when it does not fit the base model, its tokenizer, or the rank; then nothing has changed.
        """
        lora = adapter if isinstance(adapter, Lora) else read_lora(adapter, self.base.folder)
        lora.check(self.base, self.settings.rank, self.settings.alpha)
        self._set_lora(lora)
        self.update_number = 0

    def restore(self, state: State) -> None:
        """Go on exactly where `state` was taken. Raises UserError as `load` does."""
        self.load(state.lora)
        self._set_moments(state)
        self.step_number, self.update_number = state.step, state.updates
        self.rng.bit_generator.state = dict(state.rng)

    def reset(self) -> None:
        """Back to the untouched base: a fresh adapter and optimiser. What was found with the old one is kept elsewhere."""
        self.load(self.fresh)

    def logprobs(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, base: bool = False
    ) -> list[tuple[float, ...]]:
        """Log-probability of each given token after its prompt, for pairs of token ids (prompt, completion).

        `base`: without the adapter. The same as `Policy.score`, and what an adapter's hand-over is checked against.
        Raises UserError for an empty prompt or completion, or one that the model can't take.
        """
        batch = self._checked(scoring_batch(pairs))
        found = self._scored(batch, base=base, paired=False)
        return [tuple(found[n][batch.weights[n] > 0].tolist()) for n in range(len(pairs))]

    def step(self, rollouts: Sequence[Rollout], chosen: Objective | str = DEFAULT) -> Stats:
        """Learn from one batch. Raises UserError for a bad batch, TrainingStopped when the result would not be finite.

        A batch in which no group has a better and a worse answer makes no step: `Stats.skipped` says so, and neither the
        adapter nor the optimiser changes.
        """
        chosen = objective(chosen) if isinstance(chosen, str) else chosen
        begun = time.perf_counter()
        batch = self._checked(
            make_batch(
                rollouts, chosen, longest_answer=self.settings.longest_answer, temperature=self.settings.temperature
            )
        )
        reward = float(np.mean([r.reward for r in rollouts]))
        self.step_number += 1
        if not batch.trained_tokens:
            why = "all rewards are equal in every group" if batch.silent == len(rollouts) else "no token is trained"
            return Stats(self.step_number, reward=reward, silent=batch.silent, skipped=why)

        # 1. What the objective looks at besides the policy as it is: itself before the step, and the base.
        nothing = np.zeros_like(batch.weights)
        reference = self._scored(batch, base=True, paired=chosen.paired) if chosen.needs_base else nothing
        moved = self.settings.updates > 1 or chosen.needs_base
        old = self._scored(batch, base=False, paired=chosen.paired) if chosen.needs_old and moved else None
        kl_base = None
        if chosen.needs_base and old is not None:
            batch = replace(batch, advantage=fold_kl(batch.advantage, old, reference, batch.weights, chosen.kl))
            kl_base = float(kl_estimate(old, reference, batch.weights)) / batch.trained_tokens

        # 2. Updates: gradients of all micro-batches add up, then one AdamW step.
        for _ in range(self.settings.updates):
            sums = Sums()
            for rows in micro_batches(
                batch, self.settings.token_budget, paired=chosen.paired, shared=self.shares_prompts
            ):
                length = int(batch.lengths[rows].max())
                part = batch.take(rows, length)
                before = old[rows, : length - 1] if old is not None else None
                self._accumulate(part, before, reference[rows, : length - 1], chosen, sums)
            norm = self._gradient_norm()
            if not (math.isfinite(sums.loss) and math.isfinite(norm)):
                self._forget()
                raise TrainingStopped(f"step {self.step_number}: loss {sums.loss}, gradient norm {norm}", self.lora())
            self._update()
            self.update_number += 1
        count = batch.trained_tokens
        return Stats(
            step=self.step_number, loss=sums.loss, grad_norm=norm, entropy=sums.entropy / count,
            kl_sampler=sums.kl_sampler / count, kl_base=kl_base, reward=reward,
            tokens=int(batch.lengths.sum()) * self.settings.updates, trained_tokens=count,
            seconds=time.perf_counter() - begun, silent=batch.silent,
        )  # fmt: skip

    def _scored(self, batch: Batch, *, base: bool, paired: bool) -> Floats:
        found = np.zeros_like(batch.weights)
        for rows in micro_batches(batch, self.settings.token_budget, paired=paired, shared=self.shares_prompts):
            length = int(batch.lengths[rows].max())
            found[rows, : length - 1] = self._score(batch.take(rows, length), base=base)
        return found

    def _checked(self, batch: Batch) -> Batch:
        odd = batch.tokens[(batch.tokens < 0) | (batch.tokens >= self.base.vocabulary)]
        if len(odd):
            raise UserError(
                f"token {int(odd[0])} is not in this model's vocabulary of {self.base.vocabulary}: "
                "the rollouts come from a sampler with another tokenizer"
            )
        if len(batch.rows) and int(batch.lengths.max()) > self.base.longest:
            raise UserError(
                f"a sequence of {int(batch.lengths.max())} tokens is longer than the model's {self.base.longest}"
            )
        return batch
