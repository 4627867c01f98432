"""What a round keeps, how it is scored, and when a run must stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.edits import numeric_constants
from benchmarks.registry import task
from benchmarks.task import Score, Verdict
from sandboxes.base import SandboxError, UserError
from training.actions import Action, Place
from training.history import PATIENCE, Round, kl, read_rounds, why_stop
from training.plot import plot
from training.rollouts import Attempt, Played, read_played, scored, write_played
from training.rounds import Plan
from training.trainer import Stats

GOOD = Action((1, 2), (3, 4), (-0.5, -0.25), ((3, 5), (4,)), "SPEED = 2", "SPEED = 2\n")
BAD = Action((1, 2), (7,), (-1.0,), None, "hm", None, "0 blocks")
LINE = Round(
    number=1, acting=None, adapter="a" * 64, reward=0.1, best=0.2, valid=4, actions=4, distinct=3, entropy=2.0,
    kl_start=0.0, seconds={"sampling": 1.0, "sandbox": 2.0, "update": 3.0}, stats=Stats(1), sync=None, spread=0.5,
    one_action=False,
)  # fmt: skip
STUCK = replace(LINE, entropy=0.001, spread=0.0, one_action=True)


def by_constant(programs: Sequence[str]) -> dict[str, Score]:
    """A bandit whose answer is known: the program's own constant is its accuracy; below zero it fails."""
    made = {}
    for program in programs:
        value = numeric_constants(program)["SPEED"]
        found = Score(verdict=Verdict.OK, value=value) if value >= 0 else Score(verdict=Verdict.CRASH, reason="below")
        made[program] = found
    return made


def attempt(group: int, speed: int) -> Attempt:
    program = f"SPEED = {speed}\n"
    return Attempt(group, replace(GOOD, program=program, text=program.strip()))


def test_rewards_compare_an_action_with_the_program_that_it_changed() -> None:
    places = [Place("SPEED = 1\n"), Place("SPEED = 3\n", ("SPEED = 3",))]
    asked = [attempt(0, 2), attempt(1, 2), attempt(0, -1), Attempt(1, BAD, reason=BAD.why)]
    found = scored(task("lawbench"), by_constant, places, asked)
    assert [a.reward for a in found] == [1.0, -1.0, -1.5, -2.0]
    assert [a.verdict for a in found] == [Verdict.OK, Verdict.OK, Verdict.CRASH, None]
    assert found[2].reason == "below" and found[3].reason == "0 blocks"
    played = Played(places, found, None, {})
    assert (played.valid, len(played.attempts)) == (3, 4)
    rollouts = played.rollouts(7)
    assert [r.group for r in rollouts] == ["7/0", "7/1", "7/0", "7/1"]
    assert rollouts[0].allowed == GOOD.allowed and rollouts[0].logprobs == GOOD.logprobs
    assert played.entropy == pytest.approx((3 * 0.75 + 1.0) / 4)


def test_a_group_whose_own_program_fails_says_nothing() -> None:
    places = [Place("SPEED = -1\n"), Place("SPEED = 3\n")]
    found = scored(task("lawbench"), by_constant, places, [attempt(0, 2), attempt(1, 4)])
    assert [a.group for a in found] == [1]
    with pytest.raises(SandboxError, match="crash, below"):
        scored(task("lawbench"), by_constant, places[:1], [attempt(0, 2)])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-30, 0), min_size=1, max_size=3), st.floats(-2, 4), st.text(max_size=20))
def test_a_round_is_kept_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, p: list[float], r: float, text: str
) -> None:
    action = replace(GOOD, tokens=tuple(range(len(p))), logprobs=tuple(p), allowed=None, text=text)
    played = Played([Place("x = 1\n", (text,))], [Attempt(0, action, Verdict.OK, "", r), Attempt(0, GOOD)],
                    {text: -0.1}, {"sampling": 1.5})  # fmt: skip
    file = tmp_path_factory.getbasetemp() / "round.json"
    write_played(file, played)
    assert read_played(file) == played


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.randoms())
def test_kl_against_an_independent_calculation(logits: list[float], random: object) -> None:
    from scipy.special import log_softmax
    from scipy.stats import entropy

    new, old = log_softmax(logits), log_softmax(logits[::-1])
    found = kl(dict(enumerate_names(new)), dict(enumerate_names(old)))
    assert found == pytest.approx(float(entropy(np.exp(new), np.exp(old))), abs=1e-9)
    with pytest.raises(ValueError, match="different options"):
        kl({"a": 0.0}, {"b": 0.0})


def enumerate_names(values: Sequence[float]) -> list[tuple[str, float]]:
    return [(str(i), float(v)) for i, v in enumerate(values)]


def test_a_healthy_run_goes_on_and_a_collapsed_one_stops() -> None:
    assert why_stop([LINE] * 10) == ""
    assert why_stop([LINE, *[STUCK] * (PATIENCE - 1)]) == "", "not before it lasted"
    assert "collapsed" in why_stop([LINE, *[STUCK] * PATIENCE])
    assert why_stop([replace(STUCK, spread=0.5)] * PATIENCE) == "", "rewards still differ: there is something to learn"
    assert why_stop([replace(STUCK, entropy=1.0)] * PATIENCE) == "", "one action by chance is no collapse"


def test_format_decay_stops_the_run_though_its_reward_rises() -> None:
    falling = [replace(LINE, valid=v, actions=40, reward=0.1 * i) for i, v in enumerate((38, 39, 38, 37, 3, 2, 1))]
    assert why_stop(falling[:4]) == ""
    assert "format decay" in why_stop(falling)


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"group": 1}, {"places": 0}, {"temperature": 0}, {"temperature": math.inf}]
)
def test_a_plan_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        Plan(**wrong)  # type: ignore[arg-type]


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    rounds = [replace(LINE, number=n, reward=0.1 * n, kl_start=None if n == 1 else 0.01 * n) for n in (1, 2, 3)]
    file = plot(rounds, "denoising", tmp_path / "training.png")
    assert file is not None and file.read_bytes().startswith(b"\x89PNG")
    assert plot([], "nothing", tmp_path / "none.png") is None
    assert read_rounds(tmp_path / "none.jsonl") == []
