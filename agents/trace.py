"""Traces: everything an attempt did, one JSON object a line, appended as it happens.

What is traced is partly untrusted text, so every event and the whole file are bounded. A line that a crash cut in half
is skipped when reading.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

MAX_TEXT = 2000
"""Characters kept of one string."""
MAX_ITEMS = 32
"""Items kept of one list or mapping."""
MAX_EVENT_BYTES = 64 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024


def clipped(value: object, depth: int = 6) -> object:
    """`value` as bounded, JSON-able data: long strings and lists are cut and say how much is missing."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {str(key)[:100]: clipped(item, depth - 1) for key, item in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list | tuple):
        more = [f"… {len(value) - MAX_ITEMS} more"] if len(value) > MAX_ITEMS else []
        return [*(clipped(item, depth - 1) for item in value[:MAX_ITEMS]), *more]
    text = str(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… {len(text) - MAX_TEXT} more"


class Trace:
    """An append-only JSON-lines file. Safe to write from several threads; a full trace drops further events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._size = path.stat().st_size if path.exists() else 0

    def write(self, kind: str, **fields: object) -> None:
        """Append one event of some `kind`, with the time (seconds since 1970). Raises OSError when the disk is full."""
        event = {"time": round(time.time(), 3), "kind": kind} | {key: clipped(item) for key, item in fields.items()}
        line = json.dumps(event, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if len(line) > MAX_EVENT_BYTES:
            line = json.dumps({"time": event["time"], "kind": kind, "dropped_bytes": len(line)}).encode() + b"\n"
        with self._lock:
            if self._size + len(line) > MAX_FILE_BYTES:
                return
            with self.path.open("ab") as file:
                file.write(line)
            self._size += len(line)


def read_trace(path: Path) -> Iterator[dict[str, object]]:
    """The events of a trace, in order. A line that is no JSON object is skipped."""
    with path.open("rb") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event
