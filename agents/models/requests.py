"""What a request at the model gate may look like: one JSON line, sent by somebody hostile."""

from __future__ import annotations

import json
from typing import Any


class BadRequest(Exception):
    """The request can't be served; the message is what the other end is told."""


def parsed(line: bytes) -> dict[str, Any]:
    """The request on one line. Raises BadRequest."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequest("request is not JSON") from error
    if not isinstance(request, dict) or request.get("op") not in ("chat", "choose"):
        raise BadRequest('request needs "op": "chat" or "choose"')
    return request


def is_text(value: object) -> bool:
    """True for a text that a tokenizer can encode."""
    # A lone surrogate is valid JSON and no text: the tokenizer can't encode it.
    return isinstance(value, str) and value != "" and not any("\ud800" <= c <= "\udfff" for c in value)


def is_texts(value: object, most: int) -> bool:
    """True for 1 to `most` texts."""
    return isinstance(value, list) and 0 < len(value) <= most and all(map(is_text, value))


def is_message(value: object) -> bool:
    """True for one turn of a conversation."""
    if not isinstance(value, dict) or value.get("role") not in ("system", "user", "assistant"):
        return False
    return is_text(value.get("content"))
