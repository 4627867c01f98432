"""The attacks that could end differently in another image (its files, users, tools, mounts), in every image.

The whole suite runs in one image (`test_attacks.py`): limits, clocks and the supervisor are the same in all. Here the
programs run in one sandbox an image, each in a fork of one interpreter, so that an image costs seconds and not minutes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from sandboxes import images
from sandboxes.base import MIB, Limits, SandboxFactory
from sandboxes.session import open_session
from tests.sandboxes.attacks import ATTACKS
from tests.sandboxes.attacks.attack import PRELUDE, Attack
from tests.sandboxes.attacks.host import Baits, baits_on_the_host
from tests.sandboxes.conftest import IMAGE

pytestmark = pytest.mark.sandbox
AREAS = ("network", "filesystem", "privilege", "information")
OF_THE_FORK = {"parent_process"}
"""What would find the interpreter that it was forked from; which process is whose is the same in every image."""
CHOSEN = [a for a in ATTACKS if a.area in AREAS and a.name not in OF_THE_FORK and not (a.fresh or a.get or a.put)]
ROOM = Limits(memory_bytes=256 * MIB, pids=32, wall_s=60, scratch_bytes=64 * MIB, output_bytes=1 * MIB)
DRIVER = """
from textwrap import dedent
ATTACKS = json.load(open("/scratch/attacks.json"))
LIBC.prctl(4, 0, 0, 0, 0)  # Not dumpable: to an attack, this process is as closed as the supervisor. Its fork is not.
for name, body, wall_s in ATTACKS:
    sys.stdout.flush()
    out = os.open("/scratch/said", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    pid = os.fork()
    if pid == 0:
        LIBC.prctl(4, 1, 0, 0, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        signal.alarm(int(wall_s) + 5)
        try:
            exec(compile(dedent(body), name, "exec"), globals())
            print("TRIED", flush=True)
        except BaseException as error:
            print("FAILED", repr(error), flush=True)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.lseek(out, 0, 0)
    print(json.dumps([name, status, os.read(out, 20000).decode(errors="replace")]), flush=True)
    os.close(out)
"""


@pytest.fixture(scope="module")
def baits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baits]:
    with baits_on_the_host(tmp_path_factory.mktemp("host")) as found:
        yield found


def of(attack: Attack, status: int, said: str) -> str:
    """What is wrong with how an attack ended; empty when it was repelled."""
    if "ESCAPED" in said:
        return f"{attack.name} got {attack.forbidden}: {said[-2000:]}"
    ends = {"refused": status == 0 and "TRIED" in said, "failed": "FAILED" in said, "killed": status < 0}
    return "" if any(ends.get(cause, False) for cause in attack.expect) else f"{attack.name}: {status} {said[-2000:]}"


@pytest.mark.parametrize("image", [name for name in images.names() if name != IMAGE])
@pytest.mark.parametrize("backend", ["docker", "bubblewrap"])
def test_refused_in_every_image(
    backend: str, image: str, backend_with: Callable[..., SandboxFactory], baits: Baits
) -> None:
    factory = backend_with(backend, image)
    with open_session(factory, image, ROOM) as box:
        box.put("/scratch/bait.json", json.dumps(baits.told).encode())
        box.put("/scratch/attacks.json", json.dumps([[a.name, a.body, a.wall_s] for a in CHOSEN]).encode())
        box.put("/scratch/program.py", (PRELUDE + DRIVER).encode())
        result = box.exec(["python3", "/scratch/program.py"])
        assert result.succeeded, result
        ends = {name: (status, said) for name, status, said in map(json.loads, result.stdout.splitlines())}
        assert box.exec(["python3", "-c", "print('fine')"]).stdout == b"fine\n"
    assert list(ends) == [a.name for a in CHOSEN]
    got = [problem for attack in CHOSEN if (problem := of(attack, *ends[attack.name]))]
    assert not got, "\n".join(got)
    baits.assert_untouched()


def test_what_is_chosen_is_most_of_its_areas() -> None:
    for area in AREAS:
        of_area = [a for a in ATTACKS if a.area == area]
        assert sum(1 for a in CHOSEN if a.area == area) > len(of_area) / 2
