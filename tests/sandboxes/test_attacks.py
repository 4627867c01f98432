"""Every attack in every backend: nothing escapes, the result names the cause, the sandbox and the host go on unharmed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from sandboxes.base import MIB, ExecResult, FileRefused, Limits, SandboxDied, SandboxError, SandboxFactory
from sandboxes.docker import connect
from sandboxes.session import Session, open_session
from tests.sandboxes.attacks import ATTACKS
from tests.sandboxes.attacks.attack import Attack, Cause
from tests.sandboxes.attacks.host import Baits, Host, baits_on_the_host
from tests.sandboxes.conftest import IMAGE

pytestmark = pytest.mark.sandbox
SMALL = Limits(
    memory_bytes=256 * MIB, pids=32, wall_s=3, scratch_bytes=64 * MIB, file_bytes=32 * MIB, output_bytes=100_000
)
PUT_S = 5.0
"""How long a `put` or a `get` may take on whatever the candidate has left in its way."""


@pytest.fixture(scope="module")
def baits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baits]:
    with baits_on_the_host(tmp_path_factory.mktemp("host")) as found:
        yield found


@pytest.fixture(scope="module", params=["docker", "bubblewrap", "runsc"])
def factory(request: pytest.FixtureRequest, backend_with: Callable[..., SandboxFactory]) -> SandboxFactory:
    """Both backends, and Docker with gVisor's runtime where the engine has it."""
    if request.param != "runsc":
        return backend_with(request.param, IMAGE)
    made = backend_with("docker", IMAGE, runtime="runsc")
    if "runsc" not in connect().info()["Runtimes"]:
        pytest.skip("the Docker engine has no runsc runtime (gVisor); docs/security.md says how to add it")
    return made


class Shared:
    """One sandbox for the attacks that are only refused. It is replaced when one of them took it down."""

    def __init__(self, factory: SandboxFactory) -> None:
        self._factory, self._stack = factory, ExitStack()
        self._box: Session | None = None

    def box(self) -> Session:
        if self._box is None:
            self._box = self._stack.enter_context(open_session(self._factory, IMAGE, SMALL))
        return self._box

    def close(self) -> None:
        self._stack.close()
        self._box = None


@pytest.fixture(scope="module")
def shared(factory: SandboxFactory) -> Iterator[Shared]:
    kept = Shared(factory)
    yield kept
    kept.close()


@pytest.fixture
def host(factory: SandboxFactory, shared: Shared) -> Iterator[Host]:
    shared.box()  # It is there before, and is nothing that an attack has left.
    watched = Host(factory)
    yield watched
    watched.assert_unharmed()


def run(box: Session, attack: Attack, baits: Baits) -> ExecResult | None:
    """The attack's result, or None when the sandbox ended with it."""
    box.put("/scratch/bait.json", json.dumps(baits.told).encode())
    box.put("/scratch/program.py", attack.program.encode())
    try:
        return box.exec(["python3", "/scratch/program.py"], wall_s=attack.wall_s)
    except SandboxDied:
        return None


def causes(result: ExecResult | None) -> set[Cause]:
    """Every name of how a program ended."""
    if result is None:
        return {"died"}
    found: set[Cause] = set()
    if result.oom:
        found.add("oom")
    if result.timed_out:
        found.add("timed_out")
    if result.flooded:
        found.add("flooded")
    if found:
        return found
    if result.signal is not None:
        return {"killed"}
    return {"refused"} if result.exit_code == 0 else {"failed"}


def assert_repelled(attack: Attack, result: ExecResult | None) -> None:
    said = b"" if result is None else result.stdout + result.stderr
    assert b"ESCAPED" not in said, f"{attack.name} got {attack.forbidden}: {said[-2000:].decode(errors='replace')}"
    assert causes(result) & set(attack.expect), f"{attack.name} should have ended as {attack.expect}: {result}"
    if causes(result) == {"refused"}:
        assert b"TRIED" in said, f"{attack.name} did not get to its end"


def assert_answers(box: Session) -> None:
    result = box.exec(["python3", "-c", "print('fine')"])
    assert result.stdout == b"fine\n", result


def collect(box: Session, attack: Attack) -> None:
    """What the evaluator does afterwards with a trap that the candidate has left."""
    if attack.get:
        with pytest.raises(FileRefused):
            box.get(attack.get, max_bytes=1000)
    if attack.put:
        with pytest.raises(SandboxError) as caught:
            box.put_later(attack.put, b"input").result(timeout=PUT_S)
        assert not isinstance(caught.value, SandboxDied)


@pytest.mark.parametrize("attack", [a for a in ATTACKS if not a.fresh], ids=lambda a: f"{a.area}-{a.name}")
def test_refused(attack: Attack, shared: Shared, baits: Baits, host: Host) -> None:
    box = shared.box()
    try:
        assert_repelled(attack, run(box, attack, baits))
        collect(box, attack)
        assert_answers(box)
    except (SandboxDied, TimeoutError):
        shared.close()
        raise
    baits.assert_untouched()


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.fresh], ids=lambda a: f"{a.area}-{a.name}")
def test_contained(attack: Attack, factory: SandboxFactory, baits: Baits, host: Host) -> None:
    with open_session(factory, IMAGE, SMALL) as box:
        result = run(box, attack, baits)
        assert_repelled(attack, result)
        if result is not None:
            try:
                assert_answers(box)
            except SandboxDied:
                # It may end with the attack, and says so; what it must not do is to answer something else.
                assert set(attack.expect) & {"oom", "died"}, f"{attack.name} took the supervisor down"
    with open_session(factory, IMAGE, SMALL) as box:
        assert_answers(box)
    baits.assert_untouched()


def test_the_next_sandbox_of_all_is_unharmed(factory: SandboxFactory, shared: Shared) -> None:
    shared.close()
    with open_session(factory, IMAGE, SMALL) as box:
        assert_answers(box)


def test_every_area_has_its_attacks() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(ATTACKS) >= 60
    assert len(set(names)) == len(names)
    assert {a.area for a in ATTACKS} == {"network", "filesystem", "privilege", "information", "timing", "resources"}
