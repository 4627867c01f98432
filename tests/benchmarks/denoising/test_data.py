"""The counts are the ones that every published score of ours was measured on."""

import hashlib

import numpy as np
import pytest

from benchmarks.denoising import data
from benchmarks.task import Split
from sandboxes.base import UserError


def test_splits_are_fixed_and_share_no_cell():
    search, report = data.cell_ids(Split.SEARCH), data.cell_ids(Split.REPORT)
    assert len(search) == len(report) == 350
    assert set(search) | set(report) == set(range(700))
    digest = hashlib.sha256(search.astype("<i8").tobytes()).hexdigest()
    assert digest == "8950f8587128ececa3321f048595b7c22aec9ca7a7805f028b52e06f65bb305d"


def test_counts_are_whole_molecules():
    data.fetch(lambda message: None)
    both = [data.counts(split) for split in Split]
    assert [c.shape for c in both] == [(350, 765)] * 2
    assert sum(int(c.sum()) for c in both) == data.MOLECULES
    assert all((c.data == np.rint(c.data)).all() and c.data.min() >= 1 for c in both)


def test_without_the_file_the_message_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path))
    assert "ratchet data fetch denoising" in (data.missing() or "")
    with pytest.raises(UserError, match="ratchet data fetch"):
        data.counts(Split.SEARCH)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "other.h5ad"
    path.write_bytes(b"not an HDF5 file")
    with pytest.raises(UserError, match="delete it"):
        data.read_h5ad(path)
