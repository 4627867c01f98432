"""Floors and intervals: nobody honest is under the first, and the second holds what it should."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.kernels import bootstrap
from benchmarks.kernels.memory import THREADS
from benchmarks.kernels.plan import FULL
from benchmarks.kernels.problem import peak_flops
from benchmarks.kernels.roofline import LEAST_BYTES, MARGIN, Roofline
from tests.benchmarks.kernels.tiny import Vector

MIB = 1024 * 1024


@dataclass(frozen=True)
class Work:
    flops: float
    bytes: float
    key = "work"
    inputs = outputs = ()


def test_the_floor_is_the_slower_of_bytes_and_operations():
    roofline = Roofline(2, "float32", {MIB: 100e9, 16 * MIB: 20e9}, flops=1e11, measured={"float32"})
    assert roofline.floor(Work(1e9, 0)) == pytest.approx(1e9 / (MARGIN * 1e11))
    assert roofline.floor(Work(1.0, 64 * MIB)) == pytest.approx(64 * MIB / (MARGIN * 20e9))


def test_what_may_sit_in_a_cache_is_not_held_to_the_bandwidth_of_memory():
    roofline = Roofline(2, "float32", {MIB: 100e9, 4 * MIB: 60e9, 16 * MIB: 20e9}, flops=1e11, measured={"float32"})
    assert roofline.bandwidth_at(LEAST_BYTES // 2) == math.inf
    # 3 MiB fit wherever 1 MiB does, for all we know; 5 MiB do not.
    assert roofline.bandwidth_at(3 * MIB) == 100e9
    assert roofline.bandwidth_at(5 * MIB) == 60e9
    assert roofline.bandwidth_at(1000 * MIB) == 20e9


def test_unmeasured_rates_leave_the_bound_that_holds_for_any_cpu():
    assert Roofline(2, "float32").floor(Work(1e9, 64 * MIB)) == 1e9 / peak_flops(2)


def test_no_measured_rate_is_believed_beyond_that_bound():
    assert Roofline(2, "float32", flops=1e20, measured={"float32"}).floor(Work(1e9, 0)) == 1e9 / peak_flops(2)


def test_a_machine_that_was_slow_once_keeps_its_best():
    roofline = Roofline(THREADS, "float32", {MIB: 1e30}, flops=1e30)
    roofline.measure(MIB, tries=1)
    assert roofline.flops == 1e30
    assert roofline.bandwidth[MIB] == 1e30


def test_the_middle_is_the_geometric_mean_of_the_shapes_medians():
    logs = {"a": np.array([0.0, 0.0, 9.0]), "b": np.array([2.0, 2.0])}
    assert bootstrap.centre(logs) == 1.0


def test_an_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        low, high = bootstrap.interval({"a": rng.normal(1.0, 0.1, 25), "b": rng.normal(3.0, 0.1, 25)})
        held += low <= 2.0 <= high
    assert 175 <= held <= 199


def test_a_run_is_settled_only_when_its_interval_is_narrow():
    assert bootstrap.settled({"a": np.full(8, 0.7)}, 0.01)
    assert not bootstrap.settled({"a": np.array([0.5, 0.6, 0.7, 0.8])}, 0.01)


def test_a_rate_of_another_dtype_says_nothing_of_the_narrowest():
    only_float32 = Roofline(2, "bfloat16", flops=1e11, measured={"float32"})
    assert only_float32.floor(Work(1e9, 0)) == 1e9 / peak_flops(2)
    both = Roofline(2, "bfloat16", flops=1e11, measured={"float32", "bfloat16"})
    assert both.floor(Work(1e9, 0)) == pytest.approx(1e9 / 2e11)


@pytest.mark.parametrize("bad", [np.array([]), np.array([np.nan, 1.0])])
def test_no_interval_without_finite_values(bad):
    with pytest.raises(ValueError, match="finite"):
        bootstrap.interval({"a": bad})


@pytest.mark.parametrize(("plain_s", "launches"), [(1.0, 1), (0.001, 20), (1e-5, 256), (-1.0, 256)])
def test_short_launches_are_timed_by_the_block(plain_s, launches):
    assert FULL.launches(Vector(1000), plain_s, 256 * MIB) == launches


def test_a_block_does_not_outgrow_memory():
    assert FULL.launches(Vector(10 * MIB), 1e-5, 256 * MIB) == 2
    assert FULL.launches(Vector(10 * MIB), 1e-5, 1) == 1
