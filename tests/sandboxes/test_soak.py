"""Many candidates, one after the other and two at once: what was there before is there after, and nothing else.

A few dozen here. `pytest tests/sandboxes/test_soak.py --soak 10000` is the whole of it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest

from sandboxes.base import MIB, Limits, SandboxFactory
from sandboxes.pool import Pool
from sandboxes.preload import Preload
from sandboxes.session import open_session, pooled
from tests.sandboxes.conftest import IMAGE
from tests.sandboxes.leftovers import what_is_there

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(24 * 3600)]
LIMITS = Limits(memory_bytes=64 * MIB, pids=16, wall_s=5, scratch_bytes=8 * MIB, output_bytes=10_000)
ANSWER = "open('/scratch/out', 'wb').write(open('/scratch/in', 'rb').read()[::-1])"
PROGRAMS = {
    "ok": ANSWER,
    "left a child": f"import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(60)\n{ANSWER}",
    "left files": f"{ANSWER}\nfor i in range(200): open(f'/tmp/{{i}}', 'w').write('x' * 1000)",
    "raised": "raise ValueError",
    "flooded": "while True: print('x' * 1000)",
    "oom": "x = bytearray(2**28)",
    "timed out": "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
}


def candidates(number: int) -> Iterator[tuple[int, str]]:
    """Mostly good ones; one in ten ends in another way, the slow ones more rarely."""
    kinds = [name for name in PROGRAMS if name not in ("ok", "timed out")]
    for index in range(number):
        if index % 500 == 499:
            yield index, "timed out"
        elif index % 10 == 9:
            yield index, kinds[index // 10 % len(kinds)]
        else:
            yield index, "ok"


def outcome(pool: Pool, index: int, kind: str) -> str:
    """What became of one candidate, in the words of `PROGRAMS`; "ok" only with its own answer."""
    given = f"candidate {index}".encode()
    with open_session(pool, IMAGE, LIMITS) as box:
        box.put("/scratch/in", given)
        result = box.exec(["python3", "-P", "-c", PROGRAMS[kind]], wall_s=1.0 if kind == "timed out" else None)
        for ended, name in ((result.timed_out, "timed out"), (result.oom, "oom"), (result.flooded, "flooded")):
            if ended:
                return name
        if not result.succeeded:
            return "raised"
        assert box.get("/scratch/out", max_bytes=100) == given[::-1]
        return kind


def test_nothing_is_left_of_many_candidates(
    factory: SandboxFactory, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    number = pytestconfig.getoption("--soak")
    run = {"preload_of": lambda image: Preload(("json",)), "at_once": 4}

    def soak(number: int) -> Counter[tuple[str, str]]:
        with pooled(factory, **run) as pool, ThreadPoolExecutor(2) as threads:
            return Counter(threads.map(lambda c: (c[1], outcome(pool, *c)), candidates(number)))

    soak(20)  # Threads and connections to the engine that we keep for as long as we live.
    before, begun, resident = what_is_there(factory), time.monotonic(), psutil.Process().memory_info().rss
    got = soak(number)
    seconds, grown = time.monotonic() - begun, psutil.Process().memory_info().rss - resident
    with capsys.disabled():
        print(f"\n{factory.name}: {number} candidates in {seconds:.0f} s, {number / seconds:.1f}/s, "
              f"{grown / MIB:+.0f} MiB in the controller; {dict(Counter(kind for kind, _ in got.elements()))}")  # fmt: skip
    assert got == Counter((kind, kind) for _, kind in candidates(number))
    after = what_is_there(factory)
    assert after.descriptors <= before.descriptors
    assert replace(after, descriptors=before.descriptors) == before
    assert grown < 64 * MIB
