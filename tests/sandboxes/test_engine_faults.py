"""An engine that is restarted, killed, or gone in the middle of a scoring: retried or told, never the candidate's fault."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.program import Job, run_program
from benchmarks.task import Bench, Candidate, Verdict
from sandboxes import deaths
from sandboxes.base import SandboxDied, SandboxError, SandboxFactory, UserError
from sandboxes.docker import DockerFactory
from sandboxes.session import open_session
from tests.sandboxes.conftest import IMAGE, SMALL
from tests.sandboxes.second_engine import SecondEngine

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
GUEST = """
import candidate
with open("/scratch/answer", "wb") as file:
    file.write(candidate.load("/scratch/candidate.py", "answer")())
"""
SLOW = Candidate(source="import time\ndef answer():\n    time.sleep(1.5)\n    return b'done'\n")


@pytest.fixture(scope="module")
def engine(
    backend_with: Callable[..., SandboxFactory], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecondEngine]:
    first = backend_with("docker", IMAGE)
    if SecondEngine.missing():
        pytest.skip(SecondEngine.missing())
    made = SecondEngine(tmp_path_factory.mktemp("engine"))
    try:
        made.take_image(first.client, IMAGE)  # type: ignore[attr-defined]
        yield made
    finally:
        made.close()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    guest = tmp_path / "guest.py"
    guest.write_text(GUEST)
    return Job(image=IMAGE, limits=SMALL, guest=guest, inputs={}, output="answer", max_output_bytes=100)


def once_running(engine: SecondEngine, act: Callable[[], None]) -> threading.Thread:
    """Do something to the engine as soon as a candidate runs in it."""

    def wait() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for container in engine.client.containers.list(ignore_removed=True):
                top = engine.client.api.top(container.id)["Processes"]
                if any("guest.py" in " ".join(row) for row in top):
                    act()
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_restart_in_mid_run_is_survived(engine: SecondEngine, job: Job) -> None:
    said: list[str] = []
    acting = once_running(engine, engine.restart)
    outcome = run_program(SLOW, job, Bench(DockerFactory(engine.client), progress=said.append))
    acting.join()
    assert (outcome.verdict, outcome.output) == (Verdict.OK, b"done")
    assert len(said) == 1
    assert said[0].endswith("once more in a fresh sandbox")


def test_a_kill_from_outside_is_survived_once(engine: SecondEngine, job: Job) -> None:
    said: list[str] = []

    def kill() -> None:
        for container in engine.client.containers.list():
            container.kill()

    acting = once_running(engine, kill)
    outcome = run_program(SLOW, job, Bench(DockerFactory(engine.client), progress=said.append))
    acting.join()
    assert (outcome.verdict, outcome.output) == (Verdict.OK, b"done")
    assert said == ["sandbox was killed from outside while the candidate ran; once more in a fresh sandbox"]


def test_an_engine_that_is_gone_is_named(engine: SecondEngine, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deaths, "BACK_S", 1.0)
    factory = DockerFactory(engine.client)
    acting = once_running(engine, engine.stop)
    try:
        with pytest.raises(SandboxError, match=r"Docker engine .*ratchet doctor --fix.* \(and before that: ") as caught:
            run_program(SLOW, job, Bench(factory))
        assert not isinstance(caught.value, SandboxDied)
        acting.join()
        with pytest.raises(SandboxError, match="does not answer"), open_session(factory, IMAGE, SMALL):
            pass
    finally:
        engine.start()
    assert run_program(SLOW, job, Bench(factory)).output == b"done", "and it goes on when the engine is back"


def test_a_killed_engine_leaves_no_container_behind(engine: SecondEngine, job: Job) -> None:
    """Nothing tells a container that its engine was killed; the engine that is started next ends it."""
    factory = DockerFactory(engine.client)
    acting = once_running(engine, lambda: engine.end(signal.SIGKILL))
    back = threading.Timer(3, engine.start)
    back.start()
    outcome = run_program(SLOW, job, Bench(factory))
    acting.join()
    back.join()
    assert outcome.output == b"done"
    deadline = time.monotonic() + 20
    while engine.client.containers.list(all=True) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert engine.client.containers.list(all=True) == []


def test_an_image_that_is_missing_is_named(engine: SecondEngine) -> None:
    factory = DockerFactory(engine.client)
    with (
        pytest.raises(UserError, match="run `ratchet images build denoising`"),
        open_session(factory, "denoising", SMALL),
    ):
        pass
