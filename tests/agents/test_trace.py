"""Traces stay bounded and readable whatever goes into them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import trace
from agents.trace import MAX_TEXT, Trace, clipped, read_trace

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_events_come_back_in_order(tmp_path: Path) -> None:
    log = Trace(tmp_path / "deep" / "trace.jsonl")
    log.write("first", text="刑")
    log.write("second", size=2)
    assert [event["kind"] for event in read_trace(log.path)] == ["first", "second"]


def test_a_half_written_line_is_skipped(tmp_path: Path) -> None:
    log = Trace(tmp_path / "trace.jsonl")
    log.write("whole")
    with log.path.open("ab") as file:
        file.write(b'{"kind": "ha')
    assert [event["kind"] for event in read_trace(log.path)] == ["whole"]


def test_long_texts_and_huge_events_are_cut(tmp_path: Path) -> None:
    log = Trace(tmp_path / "trace.jsonl")
    log.write("long", text="x" * 10 * MAX_TEXT)
    log.write("huge", rows=[["x" * MAX_TEXT] * 30] * 30)
    long, huge = read_trace(log.path)
    assert len(str(long["text"])) < MAX_TEXT + 50
    assert "dropped_bytes" in huge


def test_a_full_trace_drops_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_FILE_BYTES", 200)
    log = Trace(tmp_path / "trace.jsonl")
    for _ in range(50):
        log.write("event")
    assert log.path.stat().st_size <= 200


@given(JSON)
def test_small_data_is_kept_as_it_is(value: object) -> None:
    text = str(value)
    if len(text) < 30 and "nan" not in text:
        assert clipped(value) == value
