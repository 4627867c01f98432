"""Measure what the boundary costs: every way to run one candidate, interleaved in one run.

    python -m benchmarks.overhead.measure round_trip --program python --rounds 100
    python -m benchmarks.overhead.measure round_trip --program torch --rounds 20 --peers
    python -m benchmarks.overhead.measure two_at_once --program python --rounds 5
    python -m benchmarks.overhead.measure exec_in_reused_container --rounds 40

Each adds a chunk to `--out`; rows over all chunks of one kind are printed and kept there. The machine should be idle.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.overhead.figures import Chunk, Figure, add
from benchmarks.overhead.ways import DOCKER_RUN, OURS, PEERS, Facts, Way, ready, ways_to_run
from benchmarks.overhead.workload import IMAGE, PROGRAMS
from results.store import RUNS
from sandboxes import images
from sandboxes.base import Limits, SandboxError, UserError
from sandboxes.session import open_session

DOCKER_EXEC = "docker exec"
OURS_REUSED = "Ratchet, Docker"
CANDIDATES = 12
"""How many one value of `two_at_once` is taken over."""


def one_round(ways: dict[str, Way], program: str, order: random.Random) -> dict[str, dict[str, Any]]:
    """Every way once, in an order that is drawn anew: none of them always follows the same other one.

    Every pool is full before the first of them, so that none fills up while another is being timed.
    """
    for way in ways.values():
        way.ready()
    taken = {}
    for name in order.sample(sorted(ways), len(ways)):
        taken[name] = ways[name].run(program)
        for way in ways.values():
            way.ready()
    return taken


def _counted(rounds: int) -> Iterator[int]:
    """Round 0, which warms up, and the others; each is said on stderr."""
    for each in range(rounds + 1):
        print(f"round {each} of {rounds}" if each else "warming up", file=sys.stderr, flush=True)
        yield each


def round_trips(rounds: int, name: str, names: tuple[str, ...]) -> Chunk:
    """`rounds` interleaved round trips of each way, after one that warms up and is dropped."""
    facts: Facts = {}
    load, order = os.getloadavg()[0], random.Random(0)
    with ways_to_run(names, facts) as ways:
        taken = [one_round(ways, PROGRAMS[name], order) for _ in _counted(rounds)][1:]
    return chunk("round_trip", name, reference(names), taken, facts, load)


def reference(names: tuple[str, ...]) -> str:
    """The way that the others' ratios are taken to."""
    return DOCKER_RUN if DOCKER_RUN in names else names[0]


def chunk(
    what: str, name: str, reference: str, taken: list[dict[str, dict[str, Any]]], facts: dict[str, dict[str, str]],
    load: float,
) -> Chunk:  # fmt: skip
    """The chunk of some rounds, each a value by way."""
    ways = sorted(taken[0])
    return Chunk(
        what=what,
        program=name,
        reference=reference,
        values={way: [each[way]["seconds"] for each in taken] for way in ways},
        steps={
            way: {step: [each[way]["steps"][step] for each in taken] for step in taken[0][way]["steps"]}
            for way in ways
            if "steps" in taken[0][way]
        },
        facts=facts,
        load_average=load,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@contextmanager
def ways_to_exec(facts: Facts) -> Iterator[dict[str, Way]]:
    """Every way to run one more program in a sandbox that is already there, each holding its one."""
    from benchmarks.overhead.peers.driver import driven

    factory = ready(facts)
    with ExitStack() as stack:
        container = stack.enter_context(_plain_container(images.docker_tag(IMAGE)))
        box = stack.enter_context(open_session(factory, IMAGE, Limits()))
        ways = {
            DOCKER_EXEC: Way(
                lambda _: _seconds(lambda: subprocess.run(["docker", "exec", container, "true"], check=True))
            ),
            OURS_REUSED: Way(lambda _: _seconds(lambda: box.exec(["true"]))),
        }
        yield ways | {peer: Way(driven(stack, peer, facts, do="exec")) for peer in PEERS}


def _seconds(run: Callable[[], object]) -> dict[str, Any]:
    before = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - before}


@contextmanager
def _plain_container(tag: str) -> Iterator[str]:
    line = ["docker", "run", "--rm", "--detach", "--init", tag, "sleep", "600"]
    container = subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield container
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=True)


def execs_in_reused_container(rounds: int, name: str, names: tuple[str, ...]) -> Chunk:
    """Latency of `true` in a container that is already there and stays: a second figure, not a fresh sandbox."""
    facts: Facts = {}
    load, order = os.getloadavg()[0], random.Random(0)
    with ways_to_exec(facts) as ways:
        taken = [one_round(ways, "", order) for _ in _counted(rounds)][1:]
    return chunk("exec_in_reused_container", name, DOCKER_EXEC, taken, facts, load)


def two_at_once(rounds: int, name: str, names: tuple[str, ...]) -> Chunk:
    """Candidates per second with two under way at any time, each value over `CANDIDATES` of them."""
    facts: Facts = {}
    load, order = os.getloadavg()[0], random.Random(0)
    taken = []
    with ways_to_run(names, facts) as first, ways_to_run(names, {}) as second, ThreadPoolExecutor(2) as threads:
        for _ in _counted(rounds):
            rates = {}
            for way in order.sample(sorted(first), len(first)):
                for each in (*first.values(), *second.values()):
                    each.ready()
                pending = iter(range(CANDIDATES))  # Shared: whoever is free takes the next one.
                before = time.perf_counter()
                workers = [threads.submit(_work, side[way], PROGRAMS[name], pending) for side in (first, second)]
                done = sum(worker.result() for worker in workers)
                rates[way] = {"seconds": done / (time.perf_counter() - before)}
            taken.append(rates)
    return chunk("two_at_once", name, reference(names), taken[1:], facts, load)


def _work(way: Way, program: str, pending: Iterator[int]) -> int:
    done = 0
    for _ in pending:
        way.run(program)
        done += 1
    return done


KINDS = {"round_trip": round_trips, "exec_in_reused_container": execs_in_reused_container, "two_at_once": two_at_once}


def line_of(row: Figure) -> str:
    """One row, to be read."""
    last = f"p99 {row.p99:.4g}" if row.p99 is not None else f"most {row.most:.4g}"
    low, high = row.ratio_interval
    return (
        f"{row.what:<24} {row.program:<6} {row.way:<22} p50 {row.p50:.4g} {row.unit}, {last}, n {row.n}, "
        f"x{row.ratio:.3g} [{low:.3g}, {high:.3g}]"
    )


def main() -> int:
    """The command line. Exit code 2 for what the user can mend, 3 for a fault of ours or of a peer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead.measure")
    parser.add_argument("what", choices=KINDS)
    parser.add_argument("--program", choices=PROGRAMS, default="python")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--peers", action="store_true", help="SWE-ReX and inspect_ai too (see peers/README.md)")
    parser.add_argument(
        "--ways", nargs="+", choices=[*OURS, *PEERS], metavar="WAY", help=f"only these: {', '.join(OURS)}"
    )
    parser.add_argument("--out", type=Path, default=RUNS / "overhead.json")
    asked = parser.parse_args()
    if asked.rounds < 2:
        parser.error("--rounds must be 2 or more: an interval needs them")
    try:
        names = tuple(asked.ways) if asked.ways else OURS + (PEERS if asked.peers else ())
        made = add(asked.out, KINDS[asked.what](asked.rounds, asked.program, names))
    except UserError as error:
        print(f"ratchet: {error}", file=sys.stderr)
        return 2
    except (SandboxError, subprocess.CalledProcessError) as error:
        print(f"ratchet: {error}", file=sys.stderr)
        return 3
    for row in made.figures:
        if (row.what, row.program) == (asked.what, asked.program):
            print(line_of(row))
    print(f"in {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
