"""From block times to a score: ratios within a block, the protocol's cost taken off, the floor in force."""

import math

import pytest

from benchmarks.kernels.problem import peak_flops
from benchmarks.kernels.rounds import Entrant, Plan, Run
from benchmarks.kernels.task import score_of
from benchmarks.kernels.trimul.inputs import TriMulShape
from benchmarks.kernels.trimul.score import TASK
from benchmarks.task import Bench, Candidate, Verdict

SHAPES = (TriMulShape(48, 2, 128), TriMulShape(96, 1, 128, "cauchy"))
PLAN = Plan(blocks=3)


class NoSandboxes:
    name = "none"

    def sandbox(self, image, limits, mounts=()):
        raise AssertionError("arithmetic needs no sandbox")


def scored(candidate_s, plain_s=0.022, protocol_s=0.002):
    run = Run(TASK.problem, PLAN, seed=1)
    entrant = Entrant(Candidate(source=""))
    for shape in SHAPES:
        run.plain.seconds[shape.key] = [plain_s] * 3
        run.empty.seconds[shape.key] = [protocol_s] * 3
        entrant.seconds[shape.key] = [candidate_s] * 3
    return score_of(entrant, run, SHAPES, PLAN, Bench(NoSandboxes()))


def test_speedup_is_the_ratio_without_the_protocol():
    score = scored(0.012)
    assert score.ok
    assert score.value == pytest.approx(2.0)
    assert score.interval == pytest.approx((2.0, 2.0))
    assert score.secondary["time_us"] == pytest.approx(10_000)
    assert score.secondary["reference_us"] == pytest.approx(20_000)
    assert score.secondary["protocol_us"] == pytest.approx(2_000)


def test_units_are_log_ratios_by_block():
    score = scored(0.012)
    assert set(score.units) == {f"{shape.key}/block{i}" for shape in SHAPES for i in range(3)}
    assert all(unit == pytest.approx(math.log(2)) for unit in score.units.values())


@pytest.mark.parametrize("candidate_s", [0.002, 0.0001])
def test_faster_than_any_machine_is_a_hack(candidate_s):
    score = scored(candidate_s)
    assert score.verdict is Verdict.REWARD_HACK
    assert score.value is None


def test_the_floor_is_far_below_a_real_time():
    assert SHAPES[1].flops / peak_flops(2) < 0.001
