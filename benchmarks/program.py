"""Run a candidate that is called once and answers with one file (law, cells), and turn its end into a verdict.

Kernels are not run this way: they are timed, and have a protocol of their own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults import once_more
from benchmarks.task import Bench, Candidate, Stage, Verdict
from sandboxes.base import ExecResult, FileRefused, Limits, Mount, SandboxDied, SandboxError
from sandboxes.session import Session, open_session

BROKEN_CONTRACT = 65
MAX_SOURCE_BYTES = 1024 * 1024
SMOKE_S = 60.0
"""Longest call on a smoke's tiny input, in seconds: libraries load in it, and some compile."""
REACHED = "/scratch/stage"
"""Where the sandbox's own `candidate` module notes how far it came. The candidate could write there too, and only to its harm."""


@dataclass(frozen=True)
class Job:
    """One call of a candidate: the guest program, its inputs, and the one file it must leave."""

    image: str
    limits: Limits
    guest: Path
    """The domain's `guest.py`; it is copied in and run as the candidate's process."""
    inputs: Mapping[str, bytes]
    """Files below /scratch, by name. Everything here is public to the candidate: never an answer."""
    output: str
    max_output_bytes: int
    model_tokens: int = 0
    """Token budget of the model socket; 0 means that the candidate gets no model."""
    smoke: bool = False
    """A call on a tiny input, with a short clock. A sandbox of the same kind as for scoring, so that a pool has one ready."""


@dataclass(frozen=True)
class Outcome:
    """The raw output of a candidate, or the verdict that ended it."""

    output: bytes | None
    verdict: Verdict
    reason: str
    seconds: float
    image: str = ""
    backend: str = ""
    last_words: str = ""
    """The last line the guest wrote to stderr before it ended well; untrusted, printable, at most 500 characters."""
    stage: Stage = Stage.SMOKE
    """How far it came, where a smoke ended badly."""


def verdict_of(result: ExecResult, limits: Limits) -> tuple[Verdict, str] | None:
    """The verdict of a process that ended badly, or None when it ended by itself with exit code 0."""
    last = said(result)
    if result.timed_out:
        return Verdict.TIMEOUT, f"ran longer than {limits.wall_s:g} s"
    if result.oom:
        return Verdict.OOM, f"used more than {limits.memory_bytes // 2**20} MiB of memory"
    if result.flooded:
        return Verdict.INVALID, f"wrote more than {limits.output_bytes} bytes to stdout or stderr"
    if result.exit_code == BROKEN_CONTRACT:
        return Verdict.INVALID, last or "broke the task's contract"
    if result.exit_code is None:
        return Verdict.CRASH, f"killed by signal {result.signal}"
    if result.exit_code != 0:
        return Verdict.CRASH, last or f"ended with exit code {result.exit_code}"
    return None


def said(result: ExecResult) -> str:
    """The last line the guest wrote for us; untrusted text, bounded and printable."""
    for line in reversed(result.stderr[-4000:].decode("utf-8", "replace").splitlines()):
        if line.strip():
            text = line.removeprefix("RATCHET: ").strip()
            return "".join(c if c.isprintable() else "?" for c in text)[:500]
    return ""


def reached(box: Session) -> Stage:
    """The stage that a program in this sandbox had come to when it ended. Any word but ours counts as the last one."""
    try:
        word = box.get(REACHED, max_bytes=16).decode("ascii", "replace")
    except FileRefused:
        return Stage.PARSE
    except SandboxDied:
        return Stage.SMOKE
    return Stage(word) if word in (Stage.IMPORT, Stage.CONTRACT) else Stage.SMOKE


def run_program(candidate: Candidate, job: Job, bench: Bench) -> Outcome:
    """Run a candidate in a fresh sandbox. A fault of ours gets one more try, then raises SandboxError."""
    if len(candidate.source.encode()) > MAX_SOURCE_BYTES:
        reason = f"source is larger than {MAX_SOURCE_BYTES} bytes"
        return Outcome(None, Verdict.INVALID, reason, 0.0, stage=Stage.PARSE)
    return once_more(lambda: _run(candidate, job, bench), bench.progress)


def _run(candidate: Candidate, job: Job, bench: Bench) -> Outcome:
    """One try. Raises SandboxError for whatever was not shown to be the candidate's own doing or end."""
    begun = time.monotonic()
    with ExitStack() as stack:
        mounts = []
        if job.model_tokens and bench.model is not None:
            gate = bench.model.open(token_budget=job.model_tokens, label=candidate.sha[:12], weights=candidate.weights)
            mounts.append(Mount(stack.enter_context(gate), "/model"))
        box = stack.enter_context(open_session(bench.sandboxes, job.image, job.limits, mounts))
        seen = (box.image_digest, box.backend)
        started = False
        try:
            for name, data in job.inputs.items():
                box.put(f"/scratch/{name}", data)
            box.put("/scratch/candidate.py", candidate.source.encode())
            box.put("/scratch/guest.py", job.guest.read_bytes())
            started = True
            # -P: the guest's own `candidate` module comes from the image, not from the program beside it.
            limits = job.limits.with_(wall_s=min(SMOKE_S, job.limits.wall_s)) if job.smoke else job.limits
            result = box.exec(["python3", "-P", "/scratch/guest.py"], wall_s=limits.wall_s)
            ended = verdict_of(result, limits)
            if ended is not None:
                stage = reached(box) if job.smoke else Stage.SMOKE
                return Outcome(None, *ended, time.monotonic() - begun, *seen, stage=stage)
            output = box.get(f"/scratch/{job.output}", max_bytes=job.max_output_bytes)
        except FileRefused as error:
            return Outcome(None, Verdict.INVALID, f"no usable {job.output}: {error}", time.monotonic() - begun, *seen)
        except SandboxDied as error:
            if error.outside or not started:
                raise SandboxError(str(error) if started else f"{error}, before the candidate had started") from error
            verdict = Verdict.OOM if error.oom else Verdict.CRASH
            return Outcome(None, verdict, str(error), time.monotonic() - begun, *seen)
        return Outcome(output, Verdict.OK, "", time.monotonic() - begun, *seen, said(result))
