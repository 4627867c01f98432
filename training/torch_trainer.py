"""LoRA training of a transformers model through peft, on a CPU or a GPU by the same code.

It reads from top to bottom: load, one forward pass, one gradient, one update, and back. Three things make it lean: rows are
padded on the right, so plain causal attention needs no mask; the vocabulary's logits are never kept (`TokenLogprobs`); and a
prompt that many answers share is run once for all of them (`_hidden`).

    from training.torch_trainer import TorchTrainer
    trainer = TorchTrainer(model_folder(print), Settings())
    stats = trainer.step(rollouts, "mean_baseline")
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.checkpoint import State
from training.lora import TARGETS, Lora
from training.objectives import Objective, constant, kl_estimate
from training.rollout import Batch, Floats, places_of, shared_prefix
from training.trainer import Settings, Sums, Trainer

CHUNK = 256
"""Positions whose logits exist at the same time: 50 MB of float32 with 49,152 words."""


LEAST_SHARED = 32
"""Tokens that rows must begin with in common for a pass of its own to pay."""


class TorchTrainer(Trainer):
    """See `training.trainer.Trainer`. `device` is "cpu", "cuda", or "auto": a GPU where there is one."""

    def __init__(self, folder: Path, settings: Settings, *, device: str = "auto") -> None:
        super().__init__(folder, settings)
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        # Checkpointing runs each layer twice, which a cache that grows in place does not survive.
        self.shares_prompts = not settings.gradient_checkpointing
        self.dtype = _native_dtype(self.device) if settings.dtype == "auto" else getattr(torch, settings.dtype)
        torch.manual_seed(settings.seed)
        if settings.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        self.model, self.parameters = _with_adapter(folder, settings, self.device, self.dtype)
        causal = self.model.get_base_model()
        self.decoder, self.head = causal.base_model, causal.get_output_embeddings().weight
        self._set_lora(self.fresh)

    # -- forward -------------------------------------------------------------------------------------------------

    def _logprobs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities [N, T] of the trained tokens, zeros elsewhere, and the sum of their entropies."""
        tokens = torch.as_tensor(batch.tokens, device=self.device).long()
        hidden = self._hidden(tokens[:, :-1], shared_prefix(batch, range(len(tokens))) if self.shares_prompts else 0)
        states, targets = hidden.flatten(0, 1) / batch.temperature, tokens[:, 1:].reshape(-1)
        logprobs, entropies = torch.zeros(len(targets), device=self.device), []
        free, among = (torch.as_tensor(places, device=self.device) for places in places_of(batch))
        if len(free):
            found, entropy = TokenLogprobs.apply(states[free], self.head, targets[free])  # type: ignore[no-untyped-call]
            logprobs = logprobs.index_copy(0, free, found)
            entropies.append(entropy.sum())
        if len(among):
            ids = torch.as_tensor(batch.allowed, device=self.device).long().flatten(0, 1)[among]
            found, entropy = chosen_logprobs(states[among], self.head, targets[among], ids)
            logprobs = logprobs.index_copy(0, among, found)
            entropies.append(entropy.sum())
        return logprobs.reshape(batch.weights.shape), torch.stack(entropies).sum()

    def _hidden(self, tokens: Tensor, shared: int) -> Tensor:
        """The last hidden states [N, T, d]. What all rows begin with is run once, and its gradient is the sum over rows."""
        if len(tokens) == 1 or shared < LEAST_SHARED:
            found: Tensor = self.decoder(input_ids=tokens, use_cache=False).last_hidden_state
            return found
        first = self.decoder(input_ids=tokens[:1, :shared], use_cache=True)
        cache = first.past_key_values
        cache.batch_repeat_interleave(len(tokens))
        rest = self.decoder(input_ids=tokens[:, shared:], past_key_values=cache, use_cache=True).last_hidden_state
        return torch.cat([first.last_hidden_state.expand(len(tokens), -1, -1), rest], dim=1)

    def _score(self, batch: Batch, *, base: bool) -> Floats:
        with torch.no_grad(), self.model.disable_adapter() if base else contextlib.nullcontext():
            found: Floats = self._logprobs(batch)[0].cpu().numpy()
            return found

    # -- gradient and update -------------------------------------------------------------------------------------

    def _accumulate(self, batch: Batch, old: Floats | None, reference: Floats, chosen: Objective, sums: Sums) -> None:
        logprobs, entropy = self._logprobs(batch)
        now = constant(logprobs)
        sampler, weights = self._stream(batch.sampler), self._stream(batch.weights)
        loss = chosen.loss(
            logprobs,
            sampler=sampler,
            old=now if old is None else self._stream(old),
            base=self._stream(reference),
            advantage=self._stream(batch.advantage),
            weights=weights,
        )
        loss.backward()
        sums.loss += float(loss.detach())
        sums.entropy += float(entropy)
        sums.kl_sampler += float(kl_estimate(sampler, now, weights))

    def _stream(self, values: Floats) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), device=self.device)

    def _gradient_norm(self) -> float:
        return float(torch.nn.utils.get_total_norm([p.grad for p in self.parameters.values() if p.grad is not None]))

    def _update(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip_norm)
        self.optimiser.step()
        self._forget()

    def _forget(self) -> None:
        self.optimiser.zero_grad(set_to_none=True)

    # -- what moves in and out -----------------------------------------------------------------------------------

    def lora(self) -> Lora:
        """A copy of the adapter as it is now."""
        tensors = {name: p.detach().cpu().numpy().copy() for name, p in self.parameters.items()}
        return Lora(tensors, self.settings.rank, self.settings.alpha)

    def gradients(self) -> dict[str, Floats]:
        """A copy of the running gradient, by the adapter's names."""
        return {name: p.grad.cpu().numpy().copy() for name, p in self.parameters.items() if p.grad is not None}

    def _set_lora(self, lora: Lora) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.from_numpy(np.array(lora.tensors[name])))
        s = self.settings
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=s.learning_rate, betas=s.betas, eps=s.epsilon, weight_decay=s.weight_decay
        )

    def state(self) -> State:
        """All that the next step depends on."""
        empty = torch.zeros(())
        kept = {name: self.optimiser.state.get(p, {}) for name, p in self.parameters.items()}
        moments = [
            {name: _host(slot.get(key, empty), self.parameters[name].shape) for name, slot in kept.items()}
            for key in ("exp_avg", "exp_avg_sq")
        ]
        return State(
            lora=self.lora(), first=moments[0], second=moments[1], updates=self.update_number,
            step=self.step_number, rng=self.rng.bit_generator.state, torch_rng=torch.get_rng_state().numpy().copy(),
        )  # fmt: skip

    def _set_moments(self, state: State) -> None:
        for name, parameter in self.parameters.items():
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(state.updates)),
                "exp_avg": torch.from_numpy(np.array(state.first[name])).to(self.device),
                "exp_avg_sq": torch.from_numpy(np.array(state.second[name])).to(self.device),
            }
        if state.torch_rng is not None:
            torch.set_rng_state(torch.from_numpy(np.array(state.torch_rng)))


class TokenLogprobs(torch.autograd.Function):
    """Log-probability [n] and entropy [n] of the next token, from hidden states [n, d] and the output matrix [V, d].

    The gradient of log p(y) by the hidden state is W[y] - Σ_v p(v) W[v]: a row of d numbers that does not depend on what
    comes after. So it is computed at once, chunk by chunk, and the n × V logits are neither kept nor computed twice.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 results. The output matrix is frozen and gets no gradient; nor has the entropy one."""
        logprobs, entropies = (torch.empty(len(hidden), device=hidden.device) for _ in range(2))
        rows = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(hidden), CHUNK):
            part = slice(start, start + CHUNK)
            logits = (hidden[part] @ head.T).float()
            logits -= logits.logsumexp(1, keepdim=True)
            logprobs[part] = logits.gather(1, targets[part, None])[:, 0]
            p = logits.exp()
            entropies[part] = -torch.linalg.vecdot(p, logits)
            if rows is not None:
                rows[part] = head[targets[part]] - p.to(head.dtype) @ head
        ctx.save_for_backward(rows)
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradient by the hidden states."""
        [rows] = ctx.saved_tensors
        return rows * gradients[0][:, None].to(rows.dtype), None, None


def chosen_logprobs(hidden: Tensor, head: Tensor, targets: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability [n] and entropy [n] of a token chosen among `allowed` [n, K] ids (-1: none), over these ids only."""
    logits = torch.einsum("nd,nkd->nk", hidden, head[allowed.clamp(min=0)]).float()
    logprobs = logits.masked_fill(allowed < 0, -torch.inf).log_softmax(1)
    column = (allowed == targets[:, None]).int().argmax(1)
    with torch.no_grad():
        entropies = torch.special.entr(logprobs.exp()).sum(1)
    return logprobs.gather(1, column[:, None])[:, 0], entropies


def _native_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware has instructions for it. Asked of the hardware, not timed: a resumed run must agree."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    native = torch.cpu.get_capabilities()
    return torch.bfloat16 if native.get("avx512_bf16") or native.get("amx_bf16") else torch.float32


def _with_adapter(
    folder: Path, settings: Settings, device: torch.device, dtype: torch.dtype
) -> tuple[Any, dict[str, torch.nn.Parameter]]:
    """The peft model, and its trained parameters by the names that they have in an adapter's file."""
    import peft
    import transformers

    with contextlib.redirect_stderr(io.StringIO()):  # transformers draws a progress bar of its own
        causal: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    lora = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules=list(TARGETS),
    )
    model: Any = peft.get_peft_model(causal.to(device), lora)
    if settings.gradient_checkpointing:
        causal.gradient_checkpointing_enable({"use_reentrant": False})
    model.train(settings.gradient_checkpointing)  # transformers checkpoints only in training mode; there is no dropout
    found = {n.replace(".default", ""): p for n, p in model.named_parameters() if p.requires_grad}
    return model, found


def _host(tensor: Tensor, shape: torch.Size) -> Floats:
    host: Floats = tensor.detach().expand(shape).cpu().numpy().copy()
    return host
