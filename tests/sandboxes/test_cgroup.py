"""What the kernel writes about memory, in both versions of control groups, read from files as it writes them."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandboxes import cgroup
from sandboxes.base import Limits, SandboxFactory
from sandboxes.session import open_session
from tests.sandboxes.conftest import IMAGE

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
    found = cgroup.group_of(os.getpid(), "memory")
    assert found is not None
    procs = (found / "cgroup.procs").read_text().split()
    assert str(os.getpid()) in procs


def test_a_process_that_has_ended_has_no_group() -> None:
    # Larger than any process id that the kernel gives.
    assert cgroup.group_of(2**22 + 1, "memory") is None


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
    found = cgroup.group_in(lines.splitlines(), "memory", v2=v2)
    assert found == (None if expected is None else cgroup.ROOT / expected)


@pytest.mark.parametrize(
    ("file", "text", "seconds"),
    [
        ("cpuacct.usage", "2500000000\n", 2.5),
        ("cpu.stat", "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n", 2.5),
        ("cpu.stat", "nr_periods 0\n", None),
        ("cpu.stat", "", None),
        ("cpuacct.usage", "much", None),
    ],
)
def test_cpu_time_is_read_from_either_version(tmp_path: Path, file: str, text: str, seconds: float | None) -> None:
    (tmp_path / file).write_text(text)
    assert cgroup.cpu_seconds_at(tmp_path) == seconds


def test_our_own_group_is_no_account_of_anybody_else() -> None:
    assert cgroup.account_of(os.getpid()) is None


QUICK_ONES = """
import os, signal, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(200):
    if os.fork() == 0:
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        os._exit(0)
print(sum(os.times()[2:4]), flush=True)
time.sleep(60)
"""


@pytest.mark.sandbox
def test_a_sandbox_has_an_account_of_its_own_that_knows_those_who_are_gone(grouped: SandboxFactory) -> None:
    """Children that nobody waits for are in no process's times; the group has them."""
    with open_session(grouped, IMAGE, Limits(pids=512)) as box:
        box.put("/scratch/quick.py", QUICK_ONES.encode())
        before = set(psutil.pids())
        ending = box.exec_later(["python3", "/scratch/quick.py"], wall_s=5.0)
        ran = []
        while not ending.done():
            new = [pid for pid in set(psutil.pids()) - before if _runs(pid, "/scratch/quick.py")]
            ran += [cgroup.cpu_seconds_at(account) for pid in new if (account := cgroup.account_of(pid))]
        assert ending.result().stdout == b"0.0\n"
    assert max(filter(None, ran)) > 0.15


def _runs(pid: int, what: str) -> bool:
    try:
        return what in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
