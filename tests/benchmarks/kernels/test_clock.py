"""The clock against guests that a candidate has replaced: processes of plain Python that speak the protocol, and cheat.

They run without a sandbox, because what is tested is our side of the socket, and these programs are ours.
"""

import random
import subprocess
import sys
import time
from concurrent.futures import Future

import pytest
import torch

from benchmarks.kernels import idle
from benchmarks.kernels.channel import Ended
from benchmarks.kernels.clock import Program
from benchmarks.kernels.environment import ENVIRONMENT
from benchmarks.kernels.memory import Host, HostOutputs
from benchmarks.kernels.opening import listening
from benchmarks.kernels.protocol import TensorSpec
from benchmarks.task import Verdict
from sandboxes.base import Limits
from sandboxes.preload import preload

SPECS = (TensorSpec("x", (100_000,)),), (TensorSpec("out", (100_000,)),)
SIZE = 401_408
GUEST = """
import array, json, mmap, os, socket, sys, threading, time
channel = socket.socket(socket.AF_UNIX)
channel.connect(sys.argv[1])
while channel.recv(5) == b"live\\n" and (child := os.fork()):
    os.waitpid(child, 0)
channel.sendall(b"ready\\n")
handles = array.array("i")
for block in range(int(sys.argv[2])):
    line, handles, _, _ = socket.recv_fds(channel, 65536, 2)
    sequence = json.loads(line)["sequence"]
    if handles:
        x, out = mmap.mmap(handles[0], SIZE, prot=mmap.PROT_READ), mmap.mmap(handles[1], SIZE)
    def honest(start=0, end=400_000):
        out[start:end] = x[start:end]
    def say(text):
        channel.sendall(text.encode())
    PREPARING
    say(f"prepared {sequence}\\n")
    channel.recv(100)
    RUNNING
channel.recv(1)
"""
HONEST = "honest(); say(f'done {sequence} 1000\\n')"


class Unboxed:
    """What `Program` asks of a session, without a sandbox."""

    image_digest, backend = "", "none"

    def __init__(self, folder, preparing, running, blocks):
        code = GUEST.replace("PREPARING", preparing).replace("RUNNING", running).replace("SIZE", str(SIZE))
        # A shell in the place of the supervisor, so that there is something to freeze below it.
        line = [
            "/bin/sh",
            "-c",
            '"$@"; true',
            "sh",
            sys.executable,
            "-S",
            "-c",
            code,
            f"{folder}/clock.sock",
            str(blocks),
        ]
        self.process = subprocess.Popen(line)

    def put(self, path, data):
        pass

    def exec_later(self, argv, env):
        return Future()


def time_block(running, preparing="pass", blocks=1, lives=1):
    """The last of some blocks of a guest that does `preparing` before the clock runs and `running` after, in its last life."""
    with listening() as (folder, listener):
        session = Unboxed(folder, preparing, running, blocks)
        program = Program(session, listener, "", Limits(), Host())
        try:
            program.connect()
            for _ in range(lives):
                program.live()
                program.loaded()
                for block in range(blocks):
                    x = torch.arange(1, 100_001, dtype=torch.float32) + block
                    timed = program.time([{"x": x}], *SPECS, wall_s=1.5, rng=random.Random(1))
            return timed, x
        finally:
            program.close()
            session.process.wait(timeout=10)


def test_an_honest_guest_is_timed_and_its_output_read():
    timed, x = time_block(HONEST, blocks=3)
    assert torch.equal(timed.outputs[0]["out"], x)
    assert timed.claimed == 1e-6
    assert 0 < timed.seconds < 1.5


def test_a_program_that_can_not_be_stopped_is_out(monkeypatch):
    def never(root):
        raise idle.Unstoppable

    monkeypatch.setattr(idle, "freeze", never)
    with pytest.raises(Ended, match="could not be stopped within") as ended:
        time_block(HONEST)
    assert ended.value.verdict is Verdict.REWARD_HACK


def test_a_life_is_a_process_of_its_own():
    # It hands out how many blocks it has counted, which would be six in one process.
    told = "honest(); out[4:8] = bytes([block + 1] * 4); say(f'done {sequence} 1000\\n')"
    timed, _ = time_block(told, blocks=2, lives=3)
    assert timed.outputs[0]["out"].view(torch.uint8)[4:8].tolist() == [2] * 4


def test_what_would_outlive_its_life_is_ended():
    stray = "time.sleep(0.4); honest()\n    if not os.fork(): time.sleep(0.2); say('x')\n    say(f'done {sequence} 1000\\n')"
    timed, x = time_block(stray, lives=2)
    assert torch.equal(timed.outputs[0]["out"], x)


def test_what_is_written_before_the_clock_runs_is_poisoned():
    timed, _ = time_block("say(f'done {sequence} 1000\\n')", preparing="out[:400_000] = bytes(400_000)")
    assert timed.outputs[0]["out"].isnan().all()


def test_no_input_is_there_before_the_clock_runs():
    # It hands out what it saw of the inputs when it said that it was prepared.
    timed, _ = time_block("out[:400_000] = early; say(f'done {sequence} 1000\\n')", preparing="early = x[:400_000]")
    assert (timed.outputs[0]["out"] == 0).all()


def test_memory_stays_and_only_the_last_block_is_in_it_before_the_clock_runs():
    # The same, in the third block: what it saw early is what it was given in the second.
    timed, x = time_block("out[:400_000] = early; say(f'done {sequence} 1000\\n')", "early = x[:400_000]", blocks=3)
    assert torch.equal(timed.outputs[0]["out"], x - 1)


def ended_by(running, blocks=1):
    """The verdict of a guest, None when it was timed."""
    try:
        time_block(running, blocks=blocks)
    except Ended as ended:
        return ended.verdict
    return None


def test_a_guest_that_writes_after_its_reply_is_caught(monkeypatch):
    late = """say(f'done {sequence} 1000\\n'); until = time.time() + 2; k = 0
    while time.time() < until:
        k = k % 250 + 1
        out[:400_000] = bytes([k]) * 400_000"""
    copy = HostOutputs.read

    def copy_once_it_has_written(outputs):
        # On a busy machine the guest may not be running in the instant between our glance and our copy.
        before, deadline = outputs.glance(0), time.monotonic() + 1
        while torch.equal(outputs.glance(0), before) and time.monotonic() < deadline:
            pass
        copy(outputs)

    monkeypatch.setattr(HostOutputs, "read", copy_once_it_has_written)
    assert ended_by(late) is Verdict.REWARD_HACK


def test_a_guest_that_writes_much_later_leaves_poison():
    timed, x = time_block("honest(0, 396_000); say(f'done {sequence} 1000\\n'); time.sleep(0.1); honest()")
    assert torch.equal(timed.outputs[0]["out"][:99_000], x[:99_000])
    assert timed.outputs[0]["out"][99_000:].isnan().all()


@pytest.mark.parametrize(("running", "verdict"), [
    ("honest(); say(f'done {sequence + 1} 1000\\n')", Verdict.INVALID),
    ("honest(); say(f'done {sequence} -5\\n')", Verdict.INVALID),
    ("say('x' * 500)", Verdict.INVALID),
    ("honest(); time.sleep(3)", Verdict.TIMEOUT),
])  # fmt: skip
def test_another_reply_than_the_one_owed_ends_the_run(running, verdict):
    assert ended_by(running) is verdict


def test_a_reply_ahead_of_its_question_is_a_hack():
    ahead = HONEST + "; time.sleep(0.05); say(f'prepared {sequence + 1}\\n')"
    assert ended_by(ahead, blocks=2) in (Verdict.REWARD_HACK, Verdict.INVALID)


@pytest.mark.parametrize("image", ["kernels", "kernels-cuda"])
def test_an_interpreter_that_was_started_ahead_can_be_used(image):
    """It is only when it has the environment of the program; a smoke case then takes hundredths of a second, not two seconds."""
    wanted = preload(image)
    assert wanted is not None and dict(wanted.env) == ENVIRONMENT and "torch" in wanted.modules
