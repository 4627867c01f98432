"""Records: whole or not at all, never NaN, and readable again."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from results.provenance import provenance
from results.record import Measurement, Record, read_record, write_record
from results.store import write_atomically


def record(value: float) -> Record:
    best = Measurement(
        name="x", sha="0", source="pass", verdict="ok", value=value, interval=(0.0, 1.0), n=1, units={"a": 1.0}
    )
    return Record(
        kind="score", task="t", metric="m", unit="u", direction="up", split="report", best=best, provenance=provenance()
    )


def test_round_trip(tmp_path: Path) -> None:
    written = record(0.5)
    assert read_record(write_record(written, tmp_path / "deep" / "r.json")) == written


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_nan_is_ever_published(tmp_path: Path, value: float) -> None:
    # pydantic writes NaN as null in JSON mode; either way no NaN may stand in the file.
    path = tmp_path / "r.json"
    try:
        write_record(record(value), path)
    except ValueError:
        assert not path.exists()
    else:
        assert "NaN" not in path.read_text()
        assert "Infinity" not in path.read_text()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_provenance_names_commit_and_machine() -> None:
    here = provenance()
    assert len(here.commit) == 40 or here.commit == "unknown"
    assert here.cores >= 1
    assert here.versions["numpy"][0].isdigit()
