"""The weights lever: a bounded run of training in real sandboxes, asked for as a feedback loop asks for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.models import adapters
from benchmarks.evaluator import Evaluator
from benchmarks.registry import task
from sandboxes.backends import choose_backend
from sandboxes.base import UserError
from sandboxes.images import build
from tests.training.tiny_model import make_actor
from training.actions import Place
from training.request import Fulfilled, TrainingRequest, fulfil

WANTED = TrainingRequest(rounds=2, group=2, places=1, rank=4, candidates=8, learning_rate=1e-2)


@pytest.mark.sandbox
def test_a_request_is_fulfilled_within_its_budget_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without named moves the policy turns the constants of the seed, and those programs are quick to score."""
    monkeypatch.setattr(adapters, "store", lambda: tmp_path / "adapters")
    denoising, model, said = task("denoising"), make_actor(tmp_path / "actor"), []
    denoising.fetch(print)
    factory = choose_backend("auto")
    build(factory, denoising.image, print)
    start = Place(denoising.seed().source)

    with Evaluator(factory.name, ahead=1) as evaluator:

        def ask(request: TrainingRequest, folder: str = "lever", adapter: str | None = None) -> Fulfilled:
            return fulfil(
                request, task=denoising, evaluator=evaluator, start=start, edits=[], folder=tmp_path / folder,
                model=model, adapter=adapter, say=said.append,
            )  # fmt: skip

        made = ask(WANTED)
        assert 1 <= len(made.rounds) <= 2 and 2 <= made.candidates <= 8 and made.stopped == ""
        assert made.seconds == pytest.approx(sum(sum(line.seconds.values()) for line in made.rounds))
        assert made.best.source == start.source or made.best_gain > 0
        if made.adapter is not None:
            assert made.path is not None and adapters.read_adapter(made.path).sha == made.adapter

        said.clear()
        assert ask(WANTED) == made, "what was done is told again"
        assert not any("scoring" in text for text in said), "and not done again"
        with pytest.raises(UserError, match="another folder"):
            ask(replace(WANTED, seed=1))

        nothing = ask(replace(WANTED, candidates=2), "small", adapter=made.adapter)
        assert (nothing.rounds, nothing.adapter, nothing.exhausted) == ((), made.adapter, "candidates")
