"""What an image's candidates nearly always import, so that a sandbox can have it imported before its candidate is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandboxes.images import RECIPES


@dataclass(frozen=True)
class Preload:
    """Modules, in the order of their import, and the environment that they are imported in (threads are counted then)."""

    modules: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


def preload(image: str) -> Preload | None:
    """The `preload.json` of an image's recipe, or None where it has none."""
    try:
        found = json.loads((RECIPES / image / "preload.json").read_text())
    except FileNotFoundError:
        return None
    return Preload(tuple(found["modules"]), found.get("env", {}))
