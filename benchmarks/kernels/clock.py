"""The evaluator's side of a timed program: start it, hand it memory, and read the clock when its answer is read.

Nothing the candidate says is a measurement. The inputs are written while the program is frozen, and the clock starts before it
is woken, so work can't begin before it. It stops when words from all over the outputs have been read, and everything is
copied and compared with them at once, so work can't be put off until after it.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.kernels import advice, cores, idle, protocol
from benchmarks.kernels.channel import Channel, Ended, end
from benchmarks.kernels.environment import ENVIRONMENT
from benchmarks.kernels.lending import NO_ROOM, Lending, Room
from benchmarks.kernels.problem import Tensors
from benchmarks.kernels.protocol import Run, TensorSpec
from benchmarks.kernels.target import Target
from benchmarks.program import reached
from benchmarks.task import Stage, Verdict
from sandboxes import cgroup
from sandboxes.base import ExecResult, Limits, SandboxDied, SandboxError
from sandboxes.session import Session

HERE = Path(__file__).parent
START_S = 90.0
"""Longest time to start Python and load torch, in seconds; several start at once on few cores."""
LOAD_S = 20.0
"""Longest time to run the top level of the candidate's file, in seconds."""
OUT_OF_TURN_S = 0.002
"""CPU time of a stopped program in a whole run, in seconds, that is taken for the kernel's own. Seen of honest ones: none."""
BUSY = 0.5
"""How much slower than at its best the device may be before a block. More, and somebody is still at work on it."""
PREPARE_S = 20.0
"""Longest time to make the tensors of a block, in seconds."""
LOOKED_AT = 32
"""Most slots looked at while a block runs: looking takes the time of a core, or of the device, that the program wants."""


def spread_out(slots: int) -> list[int]:
    """The numbers of `LOOKED_AT` slots from the first to the last, as far apart as can be; all of them where there are fewer."""
    return sorted({round(number) for number in np.linspace(0, slots - 1, min(slots, LOOKED_AT))})


@dataclass(frozen=True)
class Look:
    """How far a block was at one instant."""

    gone: float
    """Share of the block's time that had gone by."""
    begun: float
    """Share of the slots whose outputs had been begun."""
    ordered: bool
    """False when a slot had been begun before one that comes before it."""
    slots: int
    """How many slots were looked at. A launch may write nothing until its end, so `begun` can be one of them late."""


@dataclass(frozen=True)
class Timed:
    """One block as the evaluator saw it."""

    seconds: float
    """From waking the program to having glanced at its outputs, protocol included."""
    outputs: list[Tensors]
    """Private copies of the outputs, by slot and name."""
    claimed: float
    """Seconds of kernel calls by the candidate's own clock. Advice."""
    look: Look | None = None
    """Where asked for, and where the block had not ended by then."""
    state: dict[str, float] = field(default_factory=dict)
    """What the device said of itself, before (`.before`) and after (`.after`) the block."""


class Program:
    """One candidate in its sandbox, ready to be timed. After `Ended` it must not be used again."""

    def __init__(
        self,
        session: Session,
        listener: socket.socket,
        source: str,
        limits: Limits,
        target: Target,
        room: Room = NO_ROOM,
    ) -> None:
        self._listener = listener
        self._session = session
        self._limits = limits
        self._target = target
        self._lending = Lending(target, room)
        self._sequence = 0
        self._connected: Channel | None = None
        self.image = session.image_digest
        self.backend = session.backend
        self.root: int | None = None
        """Process id of the sandbox's supervisor, for `idle`; None when it isn't visible."""
        self._account: Path | None = None
        self.held = False
        """Whether it may run on the target's cores only, once it is connected; see `cores.held`."""
        self.stoppable = True
        """False once its processes could not be stopped, for want of the right to signal them."""
        self._asleep: float | None = None
        self._out_of_turn_s = 0.0
        self._frozen: list[int] | None = None
        self._placement = cores.Placement(None, target.cores)
        self._loading = True
        # Not `candidate.py`: the guest would import that instead of the loader of the same name.
        files = {"program.py": source.encode()}
        for name in ("guest.py", "protocol.py", *target.guest_files()):
            files[name] = (HERE / name).read_bytes()
        try:
            for name, text in files.items():
                session.put(f"/scratch/{name}", text)
        except SandboxDied as error:
            raise SandboxError(f"sandbox died before the candidate ran: {error}") from error
        argv = ["python3", "-P", "/scratch/guest.py", protocol.SOCKET, "/scratch/program.py", target.name]
        self._ending: Future[ExecResult] = session.exec_later([*argv, advice.form(source)], env=ENVIRONMENT)

    def connect(self) -> None:
        """Wait until the sandbox is there to begin a life (`live`). Raises Ended."""
        deadline = time.monotonic() + START_S
        while self._connected is None:
            self._listener.settimeout(0.2)
            try:
                self._connected = Channel(self._listener.accept()[0], self._ending, self._limits)
            except TimeoutError:
                if self._ending.done():
                    end(self._ending, self._limits, "ended before it was ready")
                if time.monotonic() > deadline:
                    raise Ended(Verdict.TIMEOUT, f"not started within {START_S:g} s") from None
        # One connection is all there is, and it was made before the candidate's first line ran.
        self._listener.close()
        guest = self._connected.guest
        self.root = idle.sandbox_root(guest) if guest else None
        self._account = cgroup.account_of(guest) if guest else None
        self.held = cores.held(guest, self._target.cores)

    @property
    def _channel(self) -> Channel:
        assert self._connected is not None
        return self._connected

    def live(self) -> None:
        """Begin a life: end what ran so far and have the program loaded anew, in new memory. Raises Ended. Go on with `loaded`.

        What chance deals a process (pages, the heap's layout) it has for its whole life, so one life says little of the next.
        """
        self._insist_it_slept()
        frozen = self.freeze()
        self._channel.listen_for_nothing()
        self._channel.watch(None)
        self._lending.close()
        if frozen and self.root is not None:
            idle.kill(self.root, but=self._channel.guest)
        # Sent before the guest is awake to see that its child has ended; where it can't be frozen, the child reads it, and ends.
        self._channel.send(protocol.LIVE)
        self._frozen = self._asleep = None
        self._channel.wake_guest()

    def loaded(self) -> None:
        """Wait until the program is loaded. Raises Ended."""
        self._channel.expect(protocol.READY, time.monotonic() + LOAD_S, f"not loaded within {LOAD_S:g} s")
        guest = self._channel.guest
        process = idle.only_child(guest) if guest else None
        self._channel.watch(process)
        self._placement = cores.Placement(process, self._target.cores)
        self._loading = False

    def time(
        self,
        slots: Sequence[Tensors],
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        *,
        wall_s: float,
        rng: random.Random,
        look_after_s: float | None = None,
    ) -> Timed:
        """Time one block: one kernel call for each slot. Raises Ended, also when it takes longer than `wall_s`.

        With `look_after_s`, see after that many seconds how many slots have been begun.
        """
        self._insist_it_slept()
        self.thaw()
        self._sequence += 1
        self._channel.listen_for_nothing()
        with ExitStack() as block:
            given, taken, handles = block.enter_context(self._lending.block(slots, inputs, outputs))
            run = Run(self._sequence, len(slots), inputs, outputs, self._lending.room)
            self._channel.send(protocol.encode_run(run), handles)
            slow = f"a launch took longer than {wall_s:g} s"
            late = f"its tensors were not ready within {PREPARE_S:g} s"
            self._channel.expect(protocol.prepared(self._sequence), time.monotonic() + PREPARE_S, late)
            frozen = self.freeze()
            taken.poison()
            if frozen:
                given.fill()
            if self._target.settle()[0] > BUSY:
                raise Ended(Verdict.REWARD_HACK, "was at work on the device before it was asked")
            if self._target.name == "cpu":
                block.callback(self._placement.release)
                self._placement.bind((pid for pid in self._frozen or () if pid != self._channel.guest), inputs)
            # Somebody who is awake now can see the inputs.
            self._insist_it_slept()
            state = {f"{name}.before": value for name, value in self._target.state().items()}
            start = rng.randrange(2**30)
            some = spread_out(len(slots))
            looked: list[tuple[float, list[bool]]] = []
            begun = time.perf_counter_ns()

            def look() -> None:
                looked.append(((time.perf_counter_ns() - begun) / 1e9, taken.started(some)))

            if not frozen:
                # It could be watching its memory, so the data come on its own time.
                given.fill()
            self.thaw()
            self._channel.send(protocol.go(self._sequence))
            self._placement.started()
            claimed = self._channel.done(self._sequence, time.monotonic() + wall_s, slow, look_after_s, look)
            glance = taken.glance(start)
            seconds = (time.perf_counter_ns() - begun) / 1e9
            taken.read()
            state |= {f"{name}.after": value for name, value in self._target.state().items()}
            if not torch.equal(glance, taken.glance_of_copy(start)):
                raise Ended(Verdict.REWARD_HACK, 'outputs changed after the kernel had said "done"')
            if not given.unchanged() or taken.strayed():
                raise Ended(Verdict.INVALID, "changed its inputs, which are read-only, or memory behind its outputs")
            look_at = None
            for at, began in looked:
                look_at = Look(at / seconds, sum(began) / len(began), began == sorted(began, reverse=True), len(began))
            return Timed(seconds, taken.slots(), claimed, look_at, state)

    def freeze(self) -> bool:
        """Stop every process of the sandbox but the supervisor; False where that can't be done from here. Raises Ended."""
        try:
            self._frozen = idle.freeze(self.root) if self.root is not None else None
        except idle.Unstoppable:
            raise Ended(Verdict.REWARD_HACK, f"could not be stopped within {idle.FREEZE_S:g} s") from None
        frozen = self._frozen is not None
        self.stoppable &= frozen
        self._asleep = self.cpu_seconds() if frozen else None
        return frozen

    def _insist_it_slept(self) -> None:
        """Raises Ended when it has had CPU time since it was stopped."""
        if self._asleep is not None:
            self._out_of_turn_s += self.cpu_seconds() - self._asleep
            self._asleep = None
        if self._out_of_turn_s > OUT_OF_TURN_S:
            worked = f"{self._out_of_turn_s * 1e3:.0f} ms of CPU while it was stopped"
            raise Ended(Verdict.REWARD_HACK, f"worked out of turn: {worked}")

    @property
    def accounted(self) -> bool:
        """Whether the sandbox has books of its own, in which nobody's CPU time is missing."""
        return self._account is not None and cgroup.cpu_seconds_at(self._account) is not None

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far, also of those that are gone where the sandbox has books of its own."""
        booked = cgroup.cpu_seconds_at(self._account) if self._account is not None else None
        if booked is not None:
            return booked
        return idle.cpu_seconds([self.root]).get(self.root, 0.0) if self.root is not None else 0.0

    def thaw(self) -> None:
        """Let them go on, all but the guest that starts the lives."""
        if self._frozen:
            idle.thaw(pid for pid in self._frozen if pid != self._channel.guest)
        self._frozen = self._asleep = None

    def stage(self) -> Stage:
        """How far it came. The word is the sandbox's where the process has ended, and otherwise ours."""
        if self._ending.done():
            return reached(self._session)
        return Stage.IMPORT if self._loading else Stage.SMOKE

    def close(self) -> None:
        """Hang up, and let what is frozen see it; the sandbox is closed by who opened it."""
        self._listener.close()
        self._lending.close()
        self.thaw()
        if self._connected is not None:
            self._connected.close()
