"""Populations and markers: what is measured on toy cells of two kinds, where the right answer is known."""

import json

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import silhouette_score

from benchmarks.denoising import biology, pictures
from benchmarks.denoising.cells import Cells
from benchmarks.denoising.trial import trials
from results.record import Measurement, Record, read_record, write_record
from sandboxes.base import UserError

KINDS = np.array(["left", "right"] * 30)
GENES = np.array([f"g{i}" for i in range(40)])
MARKERS = {"left": {"L": "g0"}, "right": {"R": "g1", "absent": "nowhere"}}


def two_kinds() -> np.ndarray:
    """60 cells; gene 0 is shown on the left only, gene 1 on the right and a tenth as much on the left."""
    rates = np.full((60, 40), 2.0)
    rates[:, 0] = np.where(KINDS == "left", 20, 0)
    rates[:, 1] = np.where(KINDS == "right", 20, 2)
    rates[KINDS == "left", 2:10] = 8
    return rates


def test_a_marker_leaks_by_what_the_others_show_of_it():
    rates = two_kinds()
    leaks = biology.marker_leaks(sparse.csr_matrix(rates), KINDS, GENES, MARKERS)
    sums = rates.sum(axis=1)
    assert leaks.keys() == {"L (left)", "R (right)"}
    assert leaks["L (left)"] == 0
    assert leaks["R (right)"] == pytest.approx((2 / sums[0]) / (20 / sums[1]))


def test_averaging_over_all_cells_leaks_everything():
    blurred = np.tile(two_kinds().mean(axis=0), (60, 1))
    assert biology.marker_leaks(blurred, KINDS, GENES, MARKERS) == pytest.approx({"L (left)": 1.0, "R (right)": 1.0})


def test_silhouette_and_purity_by_hand():
    place = np.concatenate([np.linspace(0, 1, 20), np.linspace(9, 10, 20)])[:, None]
    kinds = np.array(["a"] * 20 + ["b"] * 20)
    found = biology.separation(place, kinds)
    assert found["purity"] == 1.0
    assert found["silhouette"] == pytest.approx(silhouette_score(place, kinds))
    assert biology.separation(place, np.array(["a", "b"] * 20))["purity"] < 0.6


def test_the_genes_that_vary_most_are_those_that_tell_the_kinds_apart():
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(two_kinds()).astype(np.float32))
    assert set(biology.variable_genes(counts, 10)) == set(range(10))


def test_truth_separates_and_the_mean_cell_does_not():
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(two_kinds()).astype(np.float32))
    (trial,) = trials(Cells(counts, KINDS, GENES), 5, 1)
    truth = two_kinds()[trial.cells][:, [int(name[1:]) for name in trial.genes]]
    noise = np.random.default_rng(1).gamma(5.0, 1.0, truth.shape)
    found, rows = trial.populations(truth, MARKERS)
    lost, _ = trial.populations(noise, MARKERS)
    assert found["silhouette_after"] > found["silhouette_before"] > lost["silhouette_after"]
    assert found["purity_after"] == 1.0
    assert lost["marker_leak_after"] > 0.9
    assert [row["marker"] for row in rows] == ["L (left)", "R (right)"]


def a_record(tmp_path):
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(two_kinds()).astype(np.float32))
    (trial,) = trials(Cells(counts, KINDS, GENES), 5, 1)
    error = np.linspace(0.1, 1.0, trial.split.train.shape[1])
    tables = {"mse by level": trial.levels(error, error * 2), "map": trial.map(trial.split.train)}
    best = Measurement(name="it", sha="0", source="", verdict="ok", tables=tables)
    record = Record(kind="score", task="t", metric="mse", unit="u v", direction="down", split="report", best=best)
    return write_record(record, tmp_path / "it.json")


def test_a_record_is_drawn_and_names_its_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    made = pictures.draw(a_record(tmp_path))
    assert [path.name for path in made] == ["it-levels.png", "it-populations.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in made)
    assert read_record(tmp_path / "it.json").pictures == ["it-levels.png", "it-populations.png"]


def test_levels_hold_each_gene_once(tmp_path):
    rows = json.loads(a_record(tmp_path).read_text())["best"]["tables"]["mse by level"]
    assert sum(row["genes"] for row in rows) == 40
    assert [row["least_cp10k"] for row in rows] == sorted(row["least_cp10k"] for row in rows)
    assert all(row["mse_none"] == pytest.approx(2 * row["mse"]) for row in rows)


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_what_is_no_record_is_refused_in_one_line(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match="not a record"):
        pictures.draw(tmp_path / "x.json")
