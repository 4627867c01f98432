"""What becomes of a fault of ours in the middle of a scoring: one more try in fresh sandboxes, then a clear error.

Whose fault it was is decided where it happened: a `SandboxError` is never the candidate's doing, and whatever was the
candidate's doing is a verdict and is not tried again. So no candidate is blamed for an engine that was restarted, and
none gets a second chance by failing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sandboxes.base import SandboxError

T = TypeVar("T")


def once_more(work: Callable[[], T], say: Callable[[str], None]) -> T:
    """`work()`, done a second time when it raised SandboxError. Raises SandboxError, with both causes, after that."""
    try:
        return work()
    except SandboxError as first:
        say(f"{first}; once more in a fresh sandbox")
        try:
            return work()
        except SandboxError as second:
            if str(second) == str(first):
                raise SandboxError(f"{second} (twice)") from second
            raise SandboxError(f"{second} (and before that: {first})") from second
