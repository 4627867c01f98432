"""What a kernel task says of itself: shapes, inputs, the float64 answer, tolerance, and the work nobody can avoid.

Tensors are torch's, in the dtypes of the wire and on the device that is asked for: one code path for CPU and GPU, and
bfloat16 without a detour. `rounds.py` times and checks any problem of this form; a new kernel is one more of these.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.kernels.protocol import TensorSpec
from benchmarks.task import Split

Device = Literal["cpu", "cuda"]
Doubles = npt.NDArray[np.float64]
Tensors = dict[str, Tensor]
Arrays = Mapping[str, Tensor | npt.NDArray[Any]]

WIDEST_FLOPS_PER_CYCLE = 2048
"""Floating-point operations of one core in one cycle on the widest unit a CPU has today (AMX with bfloat16)."""
FASTEST_HZ = 6.0e9


@dataclass(frozen=True)
class Tolerance:
    """How far an element may be from the float64 answer: |got - wanted| <= atol * scale + rtol * |wanted|.

    `scale` is 1 unless the reference carries `<name>.scale`: where sums cancel, an honest error is as large as what was
    summed and not as what is left.
    """

    rtol: float
    atol: float
    reason: str
    """Why these: what an honest program in this dtype errs by, and what they stop."""


class Shape(Protocol):
    """One case of a problem: extents, dtype and the law of its inputs."""

    @property
    def key(self) -> str:
        """Short name, used in the keys of a score."""
        ...

    @property
    def flops(self) -> float:
        """Additions and multiplications that no program can do without, in matrix products where there are any."""
        ...

    @property
    def bytes(self) -> float:
        """Bytes that must cross the memory bus: every input read once, every output written once, nothing else."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a launch reads."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What a launch writes."""
        ...


class Case(ABC):
    """A shape as a frozen dataclass whose fields, in order, are its name."""

    @property
    def key(self) -> str:
        """For example `rows4096-cols1024-float32-cauchy`: numbers with their names, words alone, false left out."""
        parts = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # Every subclass is a dataclass.
            value = getattr(self, field.name)
            if isinstance(value, bool):
                parts += [field.name] if value else []
            else:
                parts.append(value if isinstance(value, str) else f"{field.name}{value}")
        return "-".join(parts)

    @property
    @abstractmethod
    def flops(self) -> float:
        """See `Shape.flops`."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[TensorSpec, ...]:
        """See `Shape.inputs`."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[TensorSpec, ...]:
        """See `Shape.outputs`."""

    @property
    def bytes(self) -> float:
        """See `Shape.bytes`."""
        return float(sum(spec.bytes for spec in (*self.inputs, *self.outputs)))


S = TypeVar("S", bound=Shape)


class Problem(ABC, Generic[S]):
    """A kernel task without its clock. A task gives shapes, tolerances, `draw` and `exact`."""

    folder: Path
    """Where `seed/harness.py` is, the plain program."""
    tolerances: ClassVar[Mapping[str, Tolerance]]
    """By the dtype of an output."""
    narrowest: str = "bfloat16"
    """The narrowest dtype in which a program can multiply and stay within tolerance: its rate is the roofline's."""
    timed: Mapping[Device, Mapping[Split, tuple[S, ...]]]
    checked: Mapping[Device, tuple[S, ...]]

    @property
    def plain(self) -> str:
        """Source of the plain program that every time is compared with."""
        return (self.folder / "seed" / "harness.py").read_text()

    def shapes(self, split: Split, device: Device = "cpu") -> tuple[S, ...]:
        """The timed shapes of a split."""
        return self.timed[device][split]

    def checks(self, device: Device = "cpu") -> tuple[S, ...]:
        """Shapes that are checked and not timed: odd extents, other dtypes, inputs that break careless programs."""
        return self.checked[device]

    def inputs(self, shape: S, rng: np.random.Generator, device: Device = "cpu") -> Tensors:
        """Fresh inputs in the dtypes of `shape.inputs`, contiguous, on the device, in that order.

        Drawn by a torch generator on the device, so that a gigabyte of inputs does not cross a bus; its seed is the next
        63 bits of `rng`, and nothing of one launch's seed tells the next.
        """
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**63)))
        drawn = self.draw(shape, generator)
        return {s.name: drawn[s.name].to(getattr(torch, s.dtype)).contiguous() for s in shape.inputs}

    def reference(self, shape: S, inputs: Tensors) -> Tensors:
        """The answer in float64, on the device of the inputs, from exactly the bits that the candidate got.

        It has the names in `shape.outputs`, and further ones that only `compare` reads.
        """
        with torch.inference_mode():
            return self.exact(shape, {n: t.double() if t.is_floating_point() else t for n, t in inputs.items()})

    @abstractmethod
    def draw(self, shape: S, generator: torch.Generator) -> Tensors:
        """Inputs by name, in any dtype; `inputs` rounds them to those of the wire."""

    @abstractmethod
    def exact(self, shape: S, given: Tensors) -> Tensors:
        """The answer from inputs whose floating-point tensors are float64."""

    def compare(self, outputs: Tensors, reference: Tensors) -> str | None:
        """What is wrong with finite outputs of one launch, or None. Element by element, unless a task knows better."""
        for name, got in outputs.items():
            tolerance = self.tolerances[str(got.dtype).removeprefix("torch.")]
            wrong = out_of_tolerance(name, got, reference[name], tolerance, reference.get(f"{name}.scale"))
            if wrong is not None:
                return wrong
        return None


def out_of_tolerance(
    name: str, got: Tensor, wanted: Tensor, tolerance: Tolerance, scale: Tensor | None = None
) -> str | None:
    """Say how many elements are too far from `wanted` and which is worst; None when none is."""
    allowed = tolerance.rtol * wanted.abs() + tolerance.atol * (1.0 if scale is None else scale)
    excess = (got.double() - wanted).abs() - allowed
    if excess.numel() == 0 or not bool((excess > 0).any()):
        return None
    at = int(excess.argmax())
    return (
        f"{name}: {int((excess > 0).sum())} of {got.numel()} elements are out of tolerance; "
        f"the worst is {float(got.reshape(-1)[at]):.6g} and should be {float(wanted.reshape(-1)[at]):.6g}"
    )


def mistake(problem: Problem[S], outputs: Arrays, reference: Arrays) -> str | None:
    """What is wrong with a launch's outputs, or None when every element is finite and within tolerance.

    Outputs are in the dtypes of the wire; numpy arrays and tensors do. Raises ValueError when one of them has not the
    answer's shape, which is our own fault: the memory is ours.
    """
    answer = {name: torch.as_tensor(wanted) for name, wanted in reference.items()}
    taken = {name: torch.as_tensor(got) for name, got in outputs.items()}
    for name, got in taken.items():
        if got.shape != answer[name].shape:
            raise ValueError(f"{name} has shape {tuple(got.shape)}, its answer {tuple(answer[name].shape)}")
        if got.is_floating_point() and not bool(torch.isfinite(got).all()):
            bad = int((~torch.isfinite(got)).sum())
            return f"{name}: {bad} of {got.numel()} elements are not finite (or were never written)"
    return problem.compare(taken, answer)


@functools.cache
def peak_flops(threads: int) -> float:
    """No CPU does more operations a second on so many threads: a bound, several times what this machine reaches.

    A bound and not a measurement, because a machine that is busy while it is measured would turn honest programs
    into suspects.
    """
    return min(threads, os.cpu_count() or threads) * WIDEST_FLOPS_PER_CYCLE * FASTEST_HZ
