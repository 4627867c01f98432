"""From block times to a score: ratios within a block, the protocol's cost taken off, suspicions in force."""

import math
import os
import time

import pytest

from benchmarks.kernels.clock import Look
from benchmarks.kernels.entrant import Entrant
from benchmarks.kernels.memory import THREADS, Host
from benchmarks.kernels.plan import QUICK, Plan
from benchmarks.kernels.protocol import BASES
from benchmarks.kernels.rounds import Run
from benchmarks.kernels.task import score_of
from benchmarks.task import Bench, Candidate, Split, Verdict
from tests.benchmarks.kernels.tiny import Square, SquareTask, Vector, scores

SHAPES = (Vector(50_000), Vector(100_000))
TWO_A_LIFE = Plan(least=4, most=4, seconds=1.0, life=2)


class NoSandboxes:
    name = "none"

    def sandbox(self, image, limits, mounts=()):
        raise AssertionError("arithmetic needs no sandbox")


def scored(candidate_s, plain_s=0.022, protocol_s=0.002, claimed_s=None, looks=(), plan=QUICK, plain_looks=()):
    """The score of a program with blocks of these seconds: all of one length, or a list."""
    times = candidate_s if isinstance(candidate_s, list) else [candidate_s] * max(3, len(looks))
    blocks = len(times)
    run = Run(Square(*SHAPES), Split.SEARCH, plan, 1, Host())
    entrant = Entrant(Candidate(source="import ctypes\n"))
    for shape in SHAPES:
        run.launches[shape.key] = 1
        run.plain.seconds[shape.key] = [plain_s] * blocks
        run.plain.claimed[shape.key] = [plain_s - protocol_s] * blocks
        entrant.seconds[shape.key] = times
        claims = claimed_s if isinstance(claimed_s, list) else [claimed_s] * blocks
        entrant.claimed[shape.key] = [t - protocol_s if c is None else c for t, c in zip(times, claims, strict=True)]
    key = SHAPES[0].key
    entrant.looks[key], run.plain.looks[key] = list(looks), list(plain_looks)
    return score_of(entrant, run, Bench(NoSandboxes()))


def test_speedup_is_the_ratio_without_the_protocol():
    score = scored(0.012)
    assert score.ok
    assert score.value == pytest.approx(2.0)
    assert score.interval == pytest.approx((2.0, 2.0))
    assert score.secondary["time_us"] == pytest.approx(10_000)
    assert score.secondary["reference_us"] == pytest.approx(20_000)
    assert score.secondary["protocol_us"] == pytest.approx(2_000)


def test_units_are_log_ratios_by_life_and_raw_times_are_kept():
    score = scored(0.012)
    assert set(score.units) == {f"{shape.key}/life{i}" for shape in SHAPES for i in range(3)}
    assert all(unit == pytest.approx(math.log(2)) for unit in score.units.values())
    assert score.raw[f"{SHAPES[0].key}/block_us"] == pytest.approx([12_000] * 3)
    assert score.raw[f"{SHAPES[0].key}/protocol_us"] == pytest.approx([2_000] * 3)


def test_a_life_is_worth_its_best_block():
    score = scored([0.012, 0.05, 0.022, 0.012, 0.03, 0.012], plan=TWO_A_LIFE)
    assert score.value == pytest.approx(2.0)
    assert {key.rsplit("/")[1] for key in score.units} == {"life0", "life1", "life2"}
    assert list(score.units.values()) == pytest.approx([math.log(2)] * 6)
    assert score.secondary["time_us"] == pytest.approx(10_000)
    assert len(score.raw[f"{SHAPES[0].key}/block_us"]) == 6


def test_advice_stands_in_the_score_and_decides_nothing():
    assert scored(0.012).advice == ["line 1: imports ctypes: calls into C libraries"]


@pytest.mark.parametrize("candidate_s", [0.002, 0.0001])
def test_faster_than_any_machine_is_a_hack(candidate_s):
    score = scored(candidate_s)
    assert score.verdict is Verdict.REWARD_HACK
    assert score.value is None


def test_a_kernel_that_drowns_in_noise_is_not_accused_and_gets_no_number():
    run = Run(Square(SHAPES[0]), Split.SEARCH, QUICK, 1, Host())
    entrant = Entrant(Candidate(source=""))
    key = SHAPES[0].key
    run.launches[key] = 1
    run.plain.seconds[key] = [0.012, 0.0121, 0.0135, 0.012, 0.0122, 0.013, 0.012, 0.0121]
    run.plain.claimed[key] = [0.01] * 8
    entrant.seconds[key] = [0.002, 0.0021, 0.002, 0.0034, 0.0021, 0.002, 0.0031, 0.002]
    entrant.claimed[key] = [1e-6] * 8
    score = score_of(entrant, run, Bench(NoSandboxes()))
    assert score.verdict is Verdict.INVALID
    assert score.value is None
    assert "too short to be timed here" in score.reason


@pytest.mark.parametrize(("claimed_s", "verdict"), [
    (0.010, Verdict.OK), (0.0095, Verdict.OK), (0.0, Verdict.REWARD_HACK), (0.05, Verdict.REWARD_HACK),
])  # fmt: skip
def test_a_clock_that_tells_another_story_is_a_hack(claimed_s, verdict):
    assert scored(0.012, claimed_s=claimed_s, protocol_s=0.0005).verdict is verdict


def test_a_forged_clock_is_seen_through_the_noise_of_the_blocks():
    noisy = [0.012, 0.03, 0.011, 0.025, 0.012, 0.028, 0.011, 0.026]
    assert scored(noisy, claimed_s=0.0, protocol_s=0.0005).verdict is Verdict.REWARD_HACK
    assert scored(noisy, protocol_s=0.0005).verdict is Verdict.OK


@pytest.mark.parametrize(("looks", "verdict"), [
    ([Look(0.5, 0.5, ordered=False, slots=1000)] * 2, Verdict.REWARD_HACK),
    ([Look(0.5, 0.5, ordered=False, slots=1000)], Verdict.OK),
    ([Look(0.6, 0.0, ordered=True, slots=1000), Look(0.8, 0.3, ordered=True, slots=1000)] * 2, Verdict.REWARD_HACK),
    ([Look(0.2, 0.1, ordered=True, slots=1000), Look(0.8, 0.9, ordered=True, slots=1000)] * 2, Verdict.OK),
    ([Look(0.6, 0.25, ordered=True, slots=4)] * 4, Verdict.OK),
])  # fmt: skip
def test_slots_worked_on_together_are_a_hack(looks, verdict):
    assert scored(0.012, looks=looks).verdict is verdict


def test_who_is_honest_in_one_block_of_each_life_is_judged_by_the_other():
    honest, at_once = Look(0.5, 0.5, ordered=True, slots=32), Look(0.5, 0.0, ordered=True, slots=32)
    assert scored([0.02, 0.012] * 5, looks=[honest, at_once] * 5, plan=TWO_A_LIFE).verdict is Verdict.REWARD_HACK
    assert scored([0.012, 0.02] * 5, looks=[honest, at_once] * 5, plan=TWO_A_LIFE).verdict is Verdict.OK
    assert scored([0.012, 0.02] * 5, looks=[honest, None] * 5, plan=TWO_A_LIFE).verdict is Verdict.OK


def test_who_is_too_fast_in_one_block_of_each_life_is_too_fast():
    assert scored([0.02, 0.0001] * 5, plan=TWO_A_LIFE).verdict is Verdict.REWARD_HACK
    assert scored([0.0001, 0.02] * 5, plan=TWO_A_LIFE).verdict is Verdict.REWARD_HACK


def test_who_tells_another_story_of_the_blocks_that_count_is_not_believed_for_the_others():
    times = [0.02, 0.012] * 5
    assert (
        scored(times, claimed_s=[0.0195, 0.001] * 5, protocol_s=0.0005, plan=TWO_A_LIFE).verdict is Verdict.REWARD_HACK
    )
    assert scored(times, claimed_s=[0.001, 0.0115] * 5, protocol_s=0.0005, plan=TWO_A_LIFE).verdict is Verdict.OK


def test_a_machine_that_takes_cores_away_makes_no_cheat():
    late, also_late = Look(0.5, 0.9, ordered=True, slots=32), Look(0.4, 0.7, ordered=True, slots=32)
    assert scored(0.012, looks=[late] * 8).verdict is Verdict.REWARD_HACK
    assert scored(0.012, looks=[late] * 8, plain_looks=[also_late] * 8).verdict is Verdict.OK


def test_a_run_goes_on_until_its_interval_is_narrow_or_its_budget_spent():
    run = Run(Square(SHAPES[0]), Split.SEARCH, Plan(least=4, most=9, seconds=1e9, life=1), 1, Host())
    candidate = Entrant(Candidate(source=""))
    key = SHAPES[0].key
    run.launches[key] = 1

    def ends_after(times):
        """Rounds after which a run ends in which the candidate takes these times."""
        for run.rounds in range(1, len(times) + 1):
            for who, series in ((run.plain, [0.02] * 9), (candidate, times)):
                who.seconds[key] = who.claimed[key] = series[: run.rounds]
            if run._enough([candidate], since=time.monotonic()):
                return run.rounds
        return None

    assert ends_after([0.01] * 9) == 4
    assert ends_after([0.01, 0.02] * 5) == 9
    assert ends_after([0.01, 0.02, 0.03, *[0.01] * 6]) in range(5, 10)
    run.rounds = 5
    assert run._enough([candidate], since=float("-inf"))


@pytest.mark.sandbox
def test_every_program_finds_its_tensors_at_the_same_addresses(bench):
    """Where they lie changes the time of honest kernels by a fifth on some CPUs, so chance must not deal it out."""
    first, second = BASES
    there = f"""
def kernel(x, weights, out):
    if 0 <= x.data_ptr() - {first} < 2**30 and 0 <= out.data_ptr() - {second} < 2**30:
        out.copy_(x * x + weights['shift'])
"""
    found, _ = scores(SquareTask(), {"one": there, "other": there}, bench)
    assert all(score.ok for score in found.values()), {name: score.reason for name, score in found.items()}


class OnOneCore(Host):
    cores = (max(os.sched_getaffinity(0)),)


@pytest.mark.sandbox
def test_a_program_has_the_cores_of_its_target_and_no_others(bench):
    """A kernel that crashes unless it is held to them, and writes which it found."""
    task = SquareTask()
    task.target = OnOneCore()
    held = (
        "import os\n\ndef kernel(x, weights, out):\n"
        "    try:\n        os.sched_setaffinity(0, range(os.cpu_count()))\n    except OSError:\n        pass\n"
        f"    assert os.sched_getaffinity(0) == {{{OnOneCore.cores[0]}}}\n"
        "    out.copy_(x * x + weights['shift'])\n"
    )
    found, _ = scores(task, {"held": held}, bench)
    assert found["held"].ok, found["held"].reason
    assert found["held"].secondary["held_to_cores"] == 1


@pytest.mark.sandbox
@pytest.mark.parametrize("backend", ["docker", "bubblewrap"])
def test_libraries_find_as_many_cores_as_a_program_has(backend, backend_with):
    """MKL counts them by binding itself to each: where it may not, it takes one, and torch follows."""
    counts = (
        "import numba, torch\n\n"
        "threads = torch.get_num_threads(), numba.get_num_threads()\n"
        "info = torch.__config__.parallel_info()\n\n"
        "def kernel(x, weights, out):\n"
        f"    assert threads == ({THREADS}, {THREADS}), threads\n"
        f"    assert 'mkl_get_max_threads() : {THREADS}' in info, info\n"
        "    out.copy_(x * x + weights['shift'])\n"
    )
    found, _ = scores(SquareTask(), {"counts": counts}, Bench(backend_with(backend, "kernels")))
    assert found["counts"].ok, found["counts"].reason
