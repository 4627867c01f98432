"""Sandboxes that were started ahead: as fresh as any, and handed out once."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandboxes.base import MIB, Mount, SandboxError, SandboxFactory
from sandboxes.pool import Pool
from sandboxes.preload import Preload
from sandboxes.session import Session, open_session, pooled, quiet, settle
from tests.sandboxes.conftest import IMAGE, SMALL
from tests.sandboxes.leftovers import what_is_there

pytestmark = pytest.mark.sandbox
PYTHON = ["python3", "-P", "-c"]
LIGHT = {"preload_of": lambda image: Preload(("json",))}
"""For tests in which it makes no difference what is imported."""
ROOMY = SMALL.with_(memory_bytes=512 * MIB, wall_s=20)


@pytest.fixture(scope="module")
def only_pool(factory: SandboxFactory) -> Iterator[Pool]:
    with pooled(factory) as made:
        with opened(made):
            pass
        yield made


@pytest.fixture
def pool(only_pool: Pool) -> Pool:
    """A pool with two sandboxes waiting, of the kind that `opened` asks for."""
    settle(only_pool)
    assert only_pool.waiting == 2
    return only_pool


def opened(pool: SandboxFactory, mounts: tuple[Mount, ...] = ()):  # type: ignore[no-untyped-def]
    return open_session(pool, IMAGE, ROOMY, mounts)


def said(box: Session, program: str) -> str:
    result = box.exec([*PYTHON, program])
    assert result.succeeded, result
    return result.stdout.decode().strip()


def test_the_interpreter_is_warm(pool: Pool) -> None:
    with opened(pool) as box:
        assert said(box, "import sys; print('sklearn.svm' in sys.modules)") == "True"


def test_a_used_sandbox_is_never_handed_out_again(pool: Pool) -> None:
    leave = "open('/scratch/x', 'w'); open('/tmp/x', 'w'); open('/dev/shm/x', 'w'); print(open('/proc/sys/kernel/random/boot_id').read())"
    look = "import os; print(sorted(os.listdir('/scratch') + os.listdir('/tmp') + os.listdir('/dev/shm')))"
    for _ in range(4):
        with opened(pool) as box:
            assert said(box, look) == "[]"
        with opened(pool) as box:
            said(box, leave)


def test_each_interpreter_is_a_new_one(pool: Pool) -> None:
    """Not forks of one: their hash seeds, which a fork would share, differ."""
    seeds = set()
    for _ in range(3):
        settle(pool)
        with opened(pool) as box:
            seeds.add(said(box, "print(hash('ratchet'))"))
    assert len(seeds) == 3


PROCESS = """
import os, resource, signal, sys
print(sys.argv, sys.path, __name__, sys.flags, repr(sys.stdin.read()), sorted(globals()))
print(os.getcwd(), os.getuid(), sorted({*os.listdir("/proc/self/fd")} - {"3", "4"}))  # 3: where a warm one says its end.
print([(x, y) for x, y in sorted(os.environ.items()) if not x.startswith("KMP_")])  # scikit-learn sets these on import.
print([(x, resource.getrlimit(getattr(resource, x))) for x in sorted(dir(resource)) if x.startswith("RLIMIT")])
print(*(x for x in open("/proc/self/status") if x.startswith(("Cap", "Seccomp", "NoNewPrivs", "Groups", "Uid"))))
print([signal.getsignal(x) for x in range(1, 32)], open("/proc/self/oom_score_adj").read())
"""
ENDS = """
import atexit, sys, threading
main = threading.main_thread()
threading.Thread(target=lambda: (main.join(), print("a thread of its own"))).start()
atexit.register(print, "at the end")
print("out"), print("err", file=sys.stderr)
"""


@pytest.mark.parametrize(
    "program",
    [
        PROCESS,
        ENDS,
        "raise SystemExit('last words')",
        "import sys; sys.exit(-1)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "def f(): raise KeyError('x')\nf()",
    ],
    ids=["process", "ends", "SystemExit", "exit code", "signal", "exception"],
)
def test_a_warm_start_differs_from_a_cold_one_in_nothing_but_time(
    factory: SandboxFactory, pool: Pool, program: str
) -> None:
    ends = []
    for made in (factory, pool):
        with opened(made) as box:
            result = box.exec([*PYTHON, program, "an argument"])
            ends.append((result.exit_code, result.signal, result.stdout.decode(), result.stderr.decode()))
    assert ends[0] == ends[1]


def test_a_script_finds_its_arguments(pool: Pool) -> None:
    with opened(pool) as box:
        box.put("/scratch/program.py", b"import sys; print(sys.argv, __file__, __name__)")
        result = box.exec(["python3", "-P", "/scratch/program.py", "one", "two"])
    assert result.stdout.decode().split() == [
        "['/scratch/program.py',", "'one',", "'two']", "/scratch/program.py", "__main__",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "env"), [(["python3", "-c"], {}), ([*PYTHON], {"OMP_NUM_THREADS": "1"})], ids=["other flags", "other env"]
)
def test_what_does_not_fit_starts_cold_and_finds_nothing_else_running(
    pool: Pool, argv: list[str], env: dict[str, str]
) -> None:
    look = "import os, sys; print('sklearn' in sys.modules, sum(x.isdigit() for x in os.listdir('/proc')))"
    with opened(pool) as box:
        assert box.exec([*argv, look], env=env).stdout.split() == [b"False", b"2"]


def test_limits_hold_in_a_warm_interpreter(pool: Pool) -> None:
    with opened(pool) as box:
        assert box.exec([*PYTHON, "x = bytearray(2**30)"]).oom
    with opened(pool) as box:
        assert box.exec([*PYTHON, "import time; time.sleep(60)"], wall_s=0.5).timed_out
    with opened(pool) as box:
        result = box.exec([*PYTHON, "print('x' * 10**6)"])
        assert result.flooded and len(result.stdout) <= ROOMY.output_bytes


def test_one_killed_while_it_waited_is_replaced(pool: Pool) -> None:
    for ready in pool._ready:
        group = getattr(ready.box, "_memory_group", None) or ready.box._group.folders["memory"]  # type: ignore[attr-defined]
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    with opened(pool) as box:
        assert said(box, "print('well')") == "well"


def test_a_mounted_socket_is_reached_in_a_sandbox_that_was_there_first(factory: SandboxFactory, tmp_path: Path) -> None:
    ask = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/model/model.sock'); print(s.recv(9).decode())"
    with pooled(factory, **LIGHT) as pool:
        for number in range(3):
            with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor() as threads, ExitStack() as stack:
                folder = tmp_path / str(number)
                folder.mkdir(mode=0o755)
                listener.bind(str(folder / "model.sock"))
                (folder / "model.sock").chmod(0o666)
                listener.listen()
                threads.submit(lambda listener=listener, number=number: listener.accept()[0].send(b"hello %d" % number))
                box = stack.enter_context(opened(pool, (Mount(folder, "/model"),)))
                assert said(box, ask) == f"hello {number}"
            settle(pool)
            assert pool.waiting == 2


def test_whoever_asks_for_too_many_waits_for_his_turn(factory: SandboxFactory) -> None:
    with pooled(factory, ahead=0, at_once=2) as pool, ThreadPoolExecutor(6) as threads:
        running: list[int] = []
        most = []

        def one(number: int) -> str:
            with opened(pool) as box:
                running.append(number)
                most.append(len(running))
                answer = said(box, "print(6 * 7)")
                running.remove(number)
                return answer

        assert list(threads.map(one, range(6))) == ["42"] * 6
        assert max(most) <= 2


def test_what_waits_stays_within_its_memory(factory: SandboxFactory) -> None:
    with pooled(factory, ahead=50, memory_bytes=1) as pool:
        with opened(pool):
            pass
        settle(pool)
        assert pool.waiting == 1  # How much one holds is known only once there is one.
        assert pool._largest > 10 * MIB


def test_nothing_starts_while_somebody_reads_a_clock(pool: Pool) -> None:
    with quiet(pool):
        with opened(pool):
            pass
        assert pool.waiting == 1
        assert pool._starter is None or pool._starter.done()
    settle(pool)
    assert pool.waiting == 2


def test_an_image_that_is_missing_is_said_by_whoever_asks(factory: SandboxFactory) -> None:
    with (
        pooled(factory) as pool,
        pytest.raises(Exception, match=r"no image called 'unheard-of'|is not built"),
        open_session(pool, "unheard-of", ROOMY),
    ):
        pass


def test_a_closed_pool_leaves_nothing_and_hands_out_nothing(factory: SandboxFactory) -> None:
    before = what_is_there(factory)
    with pooled(factory, **LIGHT) as pool:
        with opened(pool):
            pass
        settle(pool)
        assert what_is_there(factory) != before
    assert what_is_there(factory) == before
    with pytest.raises(SandboxError, match="closed"), opened(pool):
        pass
