"""Faults of the machine: told from what a candidate did, tried once more where that may help, and told by their cause."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.faults import once_more
from benchmarks.program import Job, run_program
from benchmarks.task import Bench, Candidate, Verdict
from sandboxes import deaths, stream
from sandboxes.base import MIB, Sandbox, SandboxDied, SandboxError, SandboxFactory, UserError
from sandboxes.cache import disk_faults, need_space
from sandboxes.session import open_session
from tests.sandboxes.conftest import IMAGE, SMALL

pytestmark = pytest.mark.sandbox
GUEST = """
import candidate
with open("/scratch/answer", "wb") as file:
    file.write(candidate.load("/scratch/candidate.py", "answer")())
"""


@pytest.fixture
def job(tmp_path: Path) -> Job:
    guest = tmp_path / "guest.py"
    guest.write_text(GUEST)
    return Job(image=IMAGE, limits=SMALL, guest=guest, inputs={}, output="answer", max_output_bytes=100)


def supervisors() -> list[psutil.Process]:
    """The supervisors of all sandboxes that a program of the test below runs in."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] and MARK in process.info["cmdline"]:
            found += [p for p in process.parents() if any("supervisor.py" in word for word in p.cmdline())][:1]
    return found


MARK = "1618033988"
WAITING = Candidate(source=f"import os\ndef answer():\n    os.execvp('sleep', ['sleep', '{MARK}'])\n")


def when_running(act: str) -> threading.Thread:
    """Send the supervisor of the running candidate a signal, as somebody with power over the machine might."""

    def wait() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for process in supervisors():
                process.send_signal(getattr(signal, act))
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_killed_from_outside_every_time_is_our_fault_and_not_a_verdict(factory: SandboxFactory, job: Job) -> None:
    said: list[str] = []
    killers = [when_running("SIGKILL")]

    def again(message: str) -> None:
        said.append(message)
        killers[0].join()
        killers.append(when_running("SIGKILL"))

    with pytest.raises(SandboxError, match=r"killed from outside while the candidate ran \(twice\)"):
        run_program(WAITING, job, Bench(factory, progress=again))
    killers[1].join()
    assert len(said) == 1, "one more try, and no third"


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("os.kill(os.getpid(), 9)", Verdict.CRASH),
        ("os._exit(137)", Verdict.CRASH),
        ("raise ValueError('no')", Verdict.CRASH),
        ("bytearray(1 << 30)", Verdict.OOM),
        ("print('x' * 200_000)", Verdict.INVALID),
        ("os.kill(1, 9); os.kill(-1, 9); time.sleep(60)", Verdict.CRASH),
    ],
)
def test_what_a_candidate_did_itself_is_not_tried_again(
    factory: SandboxFactory, job: Job, body: str, verdict: Verdict
) -> None:
    said: list[str] = []
    candidate = Candidate(source=f"import os, time\ndef answer():\n    {body}\n    return b'too late'\n")
    outcome = run_program(candidate, job, Bench(factory, progress=said.append))
    assert (outcome.verdict, outcome.output, said) == (verdict, None, [])


FILL = """
import os
def answer():
    for place in ("/scratch", "/tmp", "/dev/shm"):
        try:
            for i in range(1000):
                open(f"{place}/{i}", "wb").write(b"x" * (1 << 20))
        except OSError:
            pass
    return b"done"
"""


def test_memory_that_takes_the_supervisor_too_is_the_candidates_doing(
    factory: SandboxFactory, job: Job, tmp_path: Path
) -> None:
    """What fills a tmpfs belongs to no process, so the kernel finds only the supervisor to kill; its group goes with it."""
    tight = Job(**{**job.__dict__, "limits": SMALL.with_(memory_bytes=48 * MIB)})
    said: list[str] = []
    outcome = run_program(Candidate(source=FILL), tight, Bench(factory, progress=said.append))
    assert (outcome.verdict, said) == (Verdict.OOM, [])


def test_a_supervisor_that_does_not_answer_is_ended_from_outside(
    factory: SandboxFactory, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "GRACE_S", 1.0)
    stopper = when_running("SIGSTOP")
    with open_session(factory, IMAGE, SMALL.with_(wall_s=3)) as box:
        result = box.exec(["sleep", MARK])
        stopper.join()
        assert result.timed_out
        with pytest.raises(SandboxDied):
            box.exec(["true"])
    assert supervisors() == []


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_wire_cut_in_mid_transfer_is_a_death_and_not_half_a_file(
    factory: SandboxFactory, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deaths, "NOTICE_S", 0.5)

    async def transfer() -> None:
        async with factory.sandbox(IMAGE, SMALL) as box:
            if way == "out":
                await box.put("/scratch/big", b"x" * (24 * MIB))
            work = asyncio.create_task(
                box.put("/scratch/more", b"y" * (24 * MIB))
                if way == "in"
                else box.get("/scratch/big", max_bytes=MIB * 30)
            )
            await asyncio.sleep(0.005)
            cut(box)
            with pytest.raises(SandboxDied):
                await work
            with pytest.raises(SandboxDied):
                await box.get("/scratch/big", max_bytes=MIB * 30)

    asyncio.run(transfer())


def cut(box: Sandbox) -> None:
    """Close our end of the wire, as a lost connection does."""
    if box.backend == "docker":
        box._attached._writer.transport.abort()  # type: ignore[attr-defined]
    else:
        os.kill(psutil.Process(box._process.pid).children()[0].pid, signal.SIGKILL)  # type: ignore[attr-defined]


def test_death_before_the_candidate_started_is_our_fault(factory: SandboxFactory, job: Job) -> None:
    """Inputs that don't fit into the sandbox's memory are the task's mistake, whatever the kernel kills for it."""
    too_much = Job(**{**job.__dict__, "inputs": {f"{n}": b"x" * (20 * MIB) for n in range(3)},
                      "limits": SMALL.with_(memory_bytes=40 * MIB)})  # fmt: skip
    with pytest.raises(SandboxError, match="before the candidate had started"):
        run_program(Candidate(source="def answer():\n    return b''\n"), too_much, Bench(factory))


# -- disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(tmp_path)], check=True)
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_cache_is_named_with_the_fix(small_disk: Path) -> None:
    with pytest.raises(UserError, match=r"disk full.*RATCHET_CACHE"), disk_faults(small_disk):
        (small_disk / "big").write_bytes(b"x" * (2 * MIB))
    with pytest.raises(UserError, match=r"disk full: .* GiB free and 1.0 GiB are needed"):
        need_space(small_disk, 2**30)


def test_images_are_not_built_on_a_full_disk(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sandboxes import images

    monkeypatch.setenv("RATCHET_CACHE", str(small_disk))
    with pytest.raises(UserError, match="disk full"):
        images.build_tree(IMAGE, print)
    assert [p for p in (small_disk / "images").iterdir() if not p.name.startswith(".")] == []


# -- one more try --------------------------------------------------------------------------------------------------


def test_one_more_try_and_no_more() -> None:
    tries: list[int] = []

    def fails(times: int) -> str:
        tries.append(times)
        if len(tries) <= times:
            raise SandboxError(f"fault {len(tries)}")
        return "done"

    assert once_more(lambda: fails(1), print) == "done"
    tries.clear()
    with pytest.raises(SandboxError, match=r"^fault 2 \(and before that: fault 1\)$"):
        once_more(lambda: fails(5), print)
    assert len(tries) == 2


def test_a_users_mistake_is_not_tried_again() -> None:
    tries: list[int] = []

    def fails() -> None:
        tries.append(1)
        raise UserError("image x is not built")

    with pytest.raises(UserError):
        once_more(fails, print)
    assert tries == [1]
