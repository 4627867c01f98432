"""Benchmarks run only when they are asked for: they take minutes and say nothing about right or wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is in this folder unless `--benchmark-only` is given."""
    if config.getoption("--benchmark-only"):
        return
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    config.hook.pytest_deselected(items=ours)
    items[:] = [item for item in items if item not in ours]
