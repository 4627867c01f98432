"""Cheats on blocks of many short launches, which only a look into the running block or a full check can catch."""

from pathlib import Path

import pytest

import benchmarks.kernels
from benchmarks.kernels.plan import Plan
from benchmarks.task import Bench, Verdict
from tests.benchmarks.kernels.tiny import SEED, SquareTask, Vector, scores

FOLDER = Path(benchmarks.kernels.__file__).parent / "cheats" / "blocks"
CHEATS = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.py"))}
WRONG = {"one_in_fifty", "same_block"}
HONEST_IN_PART = {"own_guest", "now_and_then"}
"""One does all the work and makes up its time, the other cheats in some blocks: on a machine too noisy to accuse them they may
score what their honest work is worth."""
PLAN = Plan(least=10, most=10, seconds=60.0, life=2, first_s=15.0, most_launches=128)
"""Lives enough to look into several blocks, one of each shape and life."""


@pytest.fixture(scope="module")
def found(sandboxes):
    """Scores of the cheats and of an honest program."""
    task = SquareTask(Vector(50_000), Vector(80_000))
    return scores(task, CHEATS | {"honest": SEED}, Bench(sandboxes), PLAN)[0]


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_on_blocks_scores_nothing(name, found):
    wanted = Verdict.WRONG if name in WRONG else Verdict.REWARD_HACK
    if name in HONEST_IN_PART and found[name].ok:
        assert found[name].secondary["time_us"] > 0.75 * found["honest"].secondary["time_us"]
        return
    assert (found[name].verdict, found[name].value) == (wanted, None), found[name].reason


@pytest.mark.sandbox
@pytest.mark.slow
def test_one_launch_after_the_other_is_no_cheat(found):
    assert found["honest"].ok, found["honest"].reason
