"""Both backends, each test in each; the smallest image."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from sandboxes import images
from sandboxes.backends import choose_backend
from sandboxes.base import MIB, Limits, SandboxFactory
from sandboxes.engine import engine_answers
from sandboxes.session import Session, open_session

IMAGE = "lawbench"
SMALL = Limits(
    memory_bytes=256 * MIB, pids=32, wall_s=5, scratch_bytes=64 * MIB, file_bytes=32 * MIB, output_bytes=100_000
)
Open = Callable[..., AbstractContextManager[Session]]


@pytest.fixture(scope="session", params=["docker", "bubblewrap"])
def factory(request: pytest.FixtureRequest) -> SandboxFactory:
    if request.param == "docker" and not engine_answers():
        pytest.skip("no Docker engine answers")
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    made = choose_backend(request.param)
    images.build(made, IMAGE, print)
    return made


@pytest.fixture
def box(factory: SandboxFactory) -> Iterator[Session]:
    with open_session(factory, IMAGE, SMALL) as session:
        yield session
