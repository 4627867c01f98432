"""Both backends, each test in each; the smallest image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from sandboxes import cgroup
from sandboxes.base import MIB, Limits, SandboxFactory
from sandboxes.session import Session, open_session

IMAGE = "lawbench"
SMALL = Limits(
    memory_bytes=256 * MIB, pids=32, wall_s=5, scratch_bytes=64 * MIB, file_bytes=32 * MIB, output_bytes=100_000
)
Open = Callable[..., AbstractContextManager[Session]]


@pytest.fixture(scope="session", params=["docker", "bubblewrap"])
def factory(request: pytest.FixtureRequest, backend_with: Callable[..., SandboxFactory]) -> SandboxFactory:
    return backend_with(request.param, IMAGE)


@pytest.fixture
def grouped(factory: SandboxFactory) -> SandboxFactory:
    """The backend, where its sandboxes have control groups."""
    if factory.name == "bubblewrap" and not cgroup.available():
        pytest.skip("control groups can't be made here")
    return factory


@pytest.fixture
def box(factory: SandboxFactory) -> Iterator[Session]:
    with open_session(factory, IMAGE, SMALL) as session:
        yield session
