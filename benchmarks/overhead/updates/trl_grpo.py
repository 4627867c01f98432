"""The same updates by TRL's GRPOTrainer, run by the Python of TRL's own environment; imports nothing of this project.

Its `train()` runs as a user would run it. `rollout_func` hands it the given completions, so nothing is sampled; the time
that it spends between asking for completions and having scored them is measured and left out.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def now() -> tuple[float, float]:
    """Wall and processor seconds."""
    return time.perf_counter(), time.process_time()


class Clock(transformers.TrainerCallback):
    """Wall and processor seconds from the begin of each step to its end, the optimiser's step included."""

    def __init__(self) -> None:
        self.seconds: list[tuple[float, float]] = []
        self.apart = (0.0, 0.0)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self.begun, self.apart = now(), (0.0, 0.0)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop it."""
        self.seconds.append(tuple(e - b - a for e, b, a in zip(now(), self.begun, self.apart, strict=True)))


def main(model: Path, work: Path) -> None:
    """See the module's docstring."""
    told = json.loads(work.read_text())
    torch.set_num_threads(told["threads"])
    clock, steps = Clock(), told["warmups"] + told["steps"]

    def given(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        logprobs = [[-10.0] * len(c) for c in told["completions"]]
        return {"prompt_ids": told["prompts"], "completion_ids": told["completions"], "logprobs": logprobs}

    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=told["rows"], num_generations=told["rows"],
            max_completion_length=told["completion"], learning_rate=2e-4, lr_scheduler_type="constant", beta=0.0,
            scale_rewards="none", gradient_checkpointing=told["checkpointing"], bf16=told["dtype"] == "bfloat16",
            use_cpu=True, report_to="none", logging_strategy="no", save_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        trainer = GRPOTrainer(
            model=transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            reward_funcs=lambda completions, **_: told["rewards"],
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": "p"}] * told["rows"]),
            processing_class=transformers.AutoTokenizer.from_pretrained(model),
            peft_config=LoraConfig(
                task_type="CAUSAL_LM",
                r=told["rank"],
                lora_alpha=told["alpha"],
                lora_dropout=0.0,
                target_modules=TARGETS,
            ),
            rollout_func=given,
            callbacks=[clock],
        )
        score = trainer._generate_and_score_completions

        def apart(*arguments: Any) -> Any:
            begun = now()
            scored = score(*arguments)
            clock.apart = tuple(e - b for e, b in zip(now(), begun, strict=True))
            return scored

        trainer._generate_and_score_completions = apart
        trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds, cpu = zip(*clock.seconds, strict=True)
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
