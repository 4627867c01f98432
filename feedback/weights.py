"""The weights lever of the loop: training of the task's model, and the trained model as a guide of the harness search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.models.adapters import find_adapter
from agents.models.policy import Policy
from benchmarks.evaluator import Evaluator
from benchmarks.task import Task
from feedback.budget import Spent
from feedback.decision import TrainingWish
from feedback.moves import edits_for
from training.actions import Choice, Place, menu
from training.request import Fulfilled, TrainingRequest, fulfil

PLACES = 2
"""Programs acted on in a round: the one to start from, and the best found so far."""


@dataclass
class WeightsLever:
    """Trains adapters for one task. The model is loaded at the first use of all, in float32."""

    task: Task
    evaluator: Evaluator
    model: Callable[[], Path]
    """Folder of the base model."""
    quick: bool = True
    _policy: Policy | None = field(default=None, repr=False)

    def request(
        self, wish: TrainingWish, left: Spent, adapter: str | None, *, judging: int, seed: int
    ) -> TrainingRequest | None:
        """The wish, cut to what is left of the budget; None when not even one round fits.

        `judging` is how many candidates must be left to judge what was found. An adapter that is gone on from keeps its rank, whatever is wished.
        """
        a_round = PLACES * (wish.group + 1)
        affordable = (left.candidates - judging) / a_round
        if affordable < 1:
            return None
        rounds = int(min(wish.rounds, affordable))
        return TrainingRequest(
            objective=wish.objective, rounds=rounds, group=wish.group, places=PLACES, learning_rate=wish.learning_rate,
            rank=find_adapter(adapter).rank if adapter else wish.rank, seconds=min(3600.0, left.seconds), candidates=rounds * a_round, seed=seed, quick=self.quick,
        )  # fmt: skip

    def train(
        self, request: TrainingRequest, start: Place, adapter: str | None, folder: Path, say: Callable[[str], None]
    ) -> Fulfilled:
        """Go on with the training in `folder`, or begin it there. Raises as `training.request.fulfil` does."""
        return fulfil(
            request, task=self.task, evaluator=self.evaluator, start=start, edits=edits_for(self.task.name), folder=folder,
            model=self.model(), policy=self.policy(), adapter=adapter, say=say,
        )  # fmt: skip

    def policy(self) -> Policy:
        """The task's model as a sampler."""
        if self._policy is None:
            import torch

            from agents.models.torch_local import LocalModel
            from agents.models.torch_policy import TorchPolicy

            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._policy = TorchPolicy(LocalModel(self.model(), device=device, dtype=torch.float32))
        return self._policy

    def guide(self, adapter: str | None, source: str, done: Sequence[str]) -> Mapping[str, float] | None:
        """Log-probability of each option of a program's menu by the model that wears `adapter`; None without one."""
        if adapter is None or not menu(source, edits_for(self.task.name)):
            return None
        policy = self.policy()
        wore = policy.adapter
        policy.load_adapter(adapter)
        try:
            _, options, found = Choice(self.task, edits_for(self.task.name)).distribution(
                policy, Place(source, tuple(done))
            )
        finally:
            policy.load_adapter(wore)
        return dict(zip(options, found, strict=True))

    def close(self) -> None:
        """Let go of the model."""
        if self._policy is not None:
            self._policy.close()
            self._policy = None
