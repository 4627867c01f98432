"""Whole runs of a tiny policy on a bandit whose answer is known: what is kept, what starts anew, and what stops a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agents.edits import numeric_constants
from agents.models import adapters
from agents.models.torch_local import LocalModel
from agents.models.torch_policy import TorchPolicy
from benchmarks.registry import task
from benchmarks.task import Score
from cli.train_report import tell
from tests.training.test_rounds import by_constant
from tests.training.tiny_model import make_actor
from training.actions import Choice, Edit, Place
from training.advantages import mean_baseline
from training.checkpoint import Store
from training.objectives import OBJECTIVES, Objective
from training.rollouts import read_played
from training.rounds import Budget, Plan, Training
from training.torch_trainer import TorchTrainer
from training.trainer import Settings

START = Place("SPEED = 1\n")
EDITS = [Edit(f"go_{n}", "", lambda source, n=n: f"SPEED = {n}\n") for n in (0, 2, 3, 4)]  # type: ignore[misc]
SETTINGS = Settings(rank=4, alpha=8, learning_rate=1e-2, longest_answer=32, dtype="float32")
Make = Callable[..., Training]


def worth(place: Place) -> float:
    """What the bandit gives for a program: its own constant."""
    return float(numeric_constants(place.source)["SPEED"])


class Bandit:
    """`by_constant`, and how many programs it was asked for: each is worth its own constant."""

    def __init__(self) -> None:
        self.scored = 0

    def __call__(self, programs: Sequence[str]) -> dict[str, Score]:
        self.scored += len(set(programs))
        return by_constant(programs)


@pytest.fixture(scope="session")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_actor(tmp_path_factory.mktemp("model") / "actor")


@pytest.fixture
def make(actor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """`make(rounds=…)`: a run in a folder of its own, or, called again, one that goes on in it."""
    monkeypatch.setattr(adapters, "store", lambda: tmp_path / "adapters")

    def made(
        *, learning_rate: float = 1e-2, budget: Budget | None = None, adapter: str | None = None, **plan: object
    ) -> Training:
        settings = replace(SETTINGS, learning_rate=learning_rate)
        return Training(
            task("lawbench"), Choice(task("lawbench"), EDITS), Plan(**{"group": 8, **plan}),  # type: ignore[arg-type]
            TorchTrainer(actor, settings, device="cpu"), TorchPolicy(LocalModel(actor, dtype=torch.float32)), Bandit(),
            Store(tmp_path / "state", actor, tmp_path / "adapters"), tmp_path, lambda text: None, lambda line: None,
            start=START, adapter=adapter, budget=budget or Budget(),
        )  # fmt: skip

    return made


def test_a_reset_keeps_the_programs_and_starts_the_adapter_anew(make: Make, actor: Path, tmp_path: Path) -> None:
    done = make(rounds=3, reset_every=2).run()
    first, second, third = done.rounds
    assert first.acting is None and second.acting == first.adapter, "before the reset each round acts with the last"
    assert second.adapter is not None and third.acting is None, "after it the base model acts"

    played = [read_played(tmp_path / "rounds" / f"{n:04d}.json") for n in (1, 2, 3)]
    seen = {a.action.program for p in played[:2] for a in p.attempts}
    assert played[2].places == [START, max(played[2].places, key=worth)], "the best program found is still acted on"
    assert worth(played[2].places[1]) == max(worth(Place(str(program))) for program in seen) > worth(START)
    assert third.best >= second.best > 0

    # One step of an untouched trainer on the third round's rewards leads to the very same adapter.
    anew = TorchTrainer(actor, SETTINGS, device="cpu")
    anew.step(played[2].rollouts(3))
    assert Store(tmp_path / "other", actor, tmp_path / "adapters").put(anew.lora()).sha == third.adapter


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_update_that_breaks_the_model_stops_the_run_with_the_last_good_adapter(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An objective of the user's own that is too loud for float32 from the second round on."""
    loud = iter([1.0])  # one group a round
    monkeypatch.setitem(OBJECTIVES, "loud", Objective("loud", lambda r: mean_baseline(r) * next(loud, 1e39)))
    done = make(rounds=4, places=1, objective="loud").run()
    assert [r.number for r in done.rounds] == [1, 2], "no third round"
    assert "loss" in done.stopped and "--learning-rate" in done.stopped
    assert done.adapter == done.rounds[1].acting == done.rounds[0].adapter is not None

    tell(done, "bandit", tmp_path, json=False)
    said = capsys.readouterr().out
    assert f"adapter: {done.adapter}" in said and "stopped: step 2: loss" in said

    again = make(rounds=4, places=1, objective="loud")
    assert again.run().adapter == done.adapter, "a stopped run stays stopped"
    assert again.scorer.scored == 0


def test_a_learning_rate_that_ends_in_no_numbers_stops_the_run_before_the_hand_over(make: Make) -> None:
    training = make(rounds=3, learning_rate=1e30)
    done = training.run()
    assert "not finite" in done.stopped and len(done.rounds) == 1
    assert done.adapter is None, "the last good one is the base model"
    assert training.policy.adapter is None
    assert make(rounds=3, learning_rate=1e30).run().stopped == done.stopped, "and it can be read again"


def test_a_budget_ends_a_run_before_the_round_that_could_exceed_it(make: Make) -> None:
    training = make(rounds=5, budget=Budget(candidates=26))
    done = training.run()
    assert done.exhausted == "candidates" and done.stopped == ""
    assert done.spent.candidates == training.scorer.scored <= 26
    assert len(done.rounds) >= 1
    more = make(rounds=5).run()
    assert len(more.rounds) == 5 and more.exhausted == "", "with a larger budget the same run goes on"
    assert more.rounds[: len(done.rounds)] == done.rounds
    assert make(rounds=6, budget=Budget(seconds=more.spent.seconds)).run().exhausted == "seconds"


def test_a_budget_for_no_round_gives_back_what_was_given(make: Make) -> None:
    done = make(budget=Budget(candidates=8)).run()
    assert (done.rounds, done.adapter, done.best, done.exhausted) == ([], None, START, "candidates")


def test_a_run_can_begin_with_an_adapter(make: Make, actor: Path, tmp_path: Path) -> None:
    trainer = TorchTrainer(actor, SETTINGS, device="cpu")
    first = make(rounds=1)
    earlier = first.run().adapter
    assert earlier is not None
    later = make(rounds=2, adapter=earlier)
    later.folder = tmp_path / "later"
    later.store = Store(later.folder / "state", actor, tmp_path / "adapters")
    done = later.run()
    assert done.rounds[0].acting == earlier

    # The same step by hand, from the earlier adapter and a fresh optimiser.
    trainer.load(earlier)
    trainer.step(read_played(later.folder / "rounds" / "0001.json").rollouts(1))
    assert Store(tmp_path / "by-hand", actor, tmp_path / "adapters").put(trainer.lora()).sha == done.rounds[0].adapter
