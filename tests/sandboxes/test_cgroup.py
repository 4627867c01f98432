"""What the kernel writes about memory, in both versions of control groups, read from files as it writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes import cgroup

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V2 = "low 0\nhigh 0\nmax 210\noom 3\noom_kill {}\noom_group_kill 0\n"


@pytest.mark.parametrize(("file", "text"), [("memory.oom_control", V1), ("memory.events", V2)])
@given(kills=st.integers(0, 10**9))
def test_kills_are_read_from_either_version(
    tmp_path_factory: pytest.TempPathFactory, file: str, text: str, kills: int
) -> None:
    folder = tmp_path_factory.mktemp("group")
    (folder / file).write_text(text.format(kills))
    assert cgroup.oom_kills_at(folder) == kills


def test_oom_without_a_kill_is_not_one(tmp_path: Path) -> None:
    """Version 2 counts in `oom` each time that memory ran short; only `oom_kill` says that somebody died of it."""
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 9\noom_kill 0\n")
    assert cgroup.oom_kills_at(tmp_path) == 0


def test_an_old_kernel_without_the_counter_has_no_kills(tmp_path: Path) -> None:
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\n")
    assert cgroup.oom_kills_at(tmp_path) == 0


@pytest.mark.parametrize("text", ["", "oom_kill", "oom_kill many\n", "a b c\n", "\n\n"])
def test_a_damaged_file_has_no_kills(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.events").write_text(text)
    assert cgroup.oom_kills_at(tmp_path) == 0


def test_a_group_that_is_gone_has_no_kills(tmp_path: Path) -> None:
    assert cgroup.oom_kills_at(tmp_path / "gone") == 0
    assert cgroup.oom_kills_at(None) == 0


def test_the_group_of_a_process_is_found() -> None:
    found = cgroup.memory_group_of(os.getpid())
    assert found is not None
    procs = (found / "cgroup.procs").read_text().split()
    assert str(os.getpid()) in procs


def test_a_process_that_has_ended_has_no_group() -> None:
    # Larger than any process id that the kernel gives.
    assert cgroup.memory_group_of(2**22 + 1) is None


@pytest.mark.parametrize(
    ("lines", "v2", "expected"),
    [
        ("11:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/system.slice\n", False, "memory/docker/abc"),
        ("9:hugetlb,memory:/a/b\n", False, "memory/a/b"),
        ("0::/system.slice/docker-abc.scope\n", True, "system.slice/docker-abc.scope"),
        ("1:name=systemd:/x\n0::/x\n", False, None),
    ],
)
def test_lines_of_proc_cgroup(lines: str, v2: bool, expected: str | None) -> None:
    found = cgroup.memory_group_in(lines.splitlines(), v2=v2)
    assert found == (None if expected is None else cgroup.ROOT / expected)
