"""Two hundred candidates at once on whatever cores there are: each gets its own verdict, once, and nothing is left."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.program import verdict_of
from sandboxes.base import MIB, Limits
from sandboxes.pool import Pool
from sandboxes.preload import Preload
from sandboxes.stream import StreamFactory
from tests.sandboxes.conftest import IMAGE
from tests.sandboxes.leftovers import what_is_there

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
MANY, AT_ONCE = 200, 8
LIMITS = Limits(memory_bytes=96 * MIB, pids=16, wall_s=20, scratch_bytes=8 * MIB, output_bytes=1000)
KINDS = {
    "ok": "open('/scratch/answer', 'w').write(open('/scratch/token').read())",
    "crash": "raise SystemExit(3)",
    "oom": "x = bytearray(200 << 20)",
    "invalid": "print('x' * 100_000)",
    "timeout": "import time; time.sleep(1000)",
}
SHARE = [*["ok"] * 6, "crash", "oom", "invalid", "timeout"]


async def one(pool: Pool, kind: str, token: str) -> tuple[str, bytes]:
    """What one candidate came to, and what it answered."""
    async with pool.sandbox(IMAGE, LIMITS) as box:
        await box.put("/scratch/token", token.encode())
        await box.put("/scratch/program.py", KINDS[kind].encode())
        result = await box.exec(["python3", "-P", "/scratch/program.py"], wall_s=0.3 if kind == "timeout" else None)
        ended = verdict_of(result, LIMITS)
        if ended is not None:
            return ended[0].value, b""
        return "ok", await box.get("/scratch/answer", max_bytes=100)


async def together(factory: StreamFactory, kinds: list[str], tokens: list[str]) -> list[tuple[str, bytes]]:
    pool = Pool(factory, at_once=AT_ONCE, preload_of=lambda image: Preload(("json",)))
    try:
        return await asyncio.gather(*(one(pool, k, t) for k, t in zip(kinds, tokens, strict=True)))
    finally:
        await pool.close()


def test_two_hundred_at_once(factory: StreamFactory) -> None:
    kinds = [SHARE[n % len(SHARE)] for n in range(MANY)]
    tokens = [secrets.token_hex(8) for _ in kinds]
    asyncio.run(together(factory, ["ok"], ["first"]))  # What is opened once and kept, is now.
    before = what_is_there(factory)
    found = asyncio.run(together(factory, kinds, tokens))
    assert [verdict for verdict, _ in found] == kinds
    answers = Counter(answer.decode() for verdict, answer in found if verdict == "ok")
    assert answers == Counter(t for k, t in zip(kinds, tokens, strict=True) if k == "ok")
    after = what_is_there(factory)
    assert after.descriptors <= before.descriptors
    assert replace(after, descriptors=before.descriptors) == before
