"""Reading counts: any .h5ad that anndata writes, OpenProblems' files from a (local) server, the sorted cells."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from benchmarks.denoising import cells, metrics
from benchmarks.denoising.facs import data as facs
from benchmarks.denoising.h5ad.score import TASK as OWN
from benchmarks.denoising.openproblems import data as openproblems
from benchmarks.denoising.openproblems.score import TASK as PUBLISHED
from benchmarks.task import Split
from sandboxes.base import UserError

ad = pytest.importorskip("anndata")
pd = pytest.importorskip("pandas")


def some_counts(rows: int = 12, columns: int = 7) -> np.ndarray:
    return np.random.default_rng(0).poisson(1.0, (rows, columns)).astype(np.float32)


def saved(path: Path, counts, obs: dict[str, list[str]] | None = None, **more) -> Path:
    made = ad.AnnData(counts, obs=pd.DataFrame(obs or {}, index=[f"c{i}" for i in range(counts.shape[0])]), **more)
    made.var_names = [f"gene{i}" for i in range(counts.shape[1])]
    made.write_h5ad(path)
    return path


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_counts_come_back_in_every_form(form, tmp_path):
    wanted = some_counts()
    found = cells.read_h5ad(saved(tmp_path / "a.h5ad", form(wanted), {"kind": list("aabbccaabbcc")}), "kind")
    assert (found.counts.toarray() == wanted).all()
    assert "".join(found.labels) == "aabbccaabbcc"
    assert list(found.genes) == [f"gene{i}" for i in range(7)]


def test_counts_in_a_layer_go_before_normalised_values(tmp_path):
    wanted = some_counts()
    path = saved(tmp_path / "a.h5ad", np.log1p(wanted), layers={"counts": sparse.csr_matrix(wanted)})
    assert (cells.read_h5ad(path).counts.toarray() == wanted).all()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: saved(path, some_counts() / 3), "only whole numbers"),
        (lambda path: saved(path, -some_counts()), "only whole numbers"),
        (lambda path: path.write_bytes(b"PK\3\4 not HDF5"), "not a readable"),
        (lambda path: saved(path, some_counts(), {"kind": ["x"] * 12}), "no column 'celltype'"),
    ],
)
def test_another_file_is_refused_in_one_line(make, why, tmp_path):
    make(tmp_path / "a.h5ad")
    with pytest.raises(UserError, match=why) as error:
        cells.read_h5ad(tmp_path / "a.h5ad", "celltype")
    assert "\n" not in str(error.value)


def test_empty_genes_and_cells_are_filtered_as_scanpy_filters_them():
    sc = pytest.importorskip("scanpy")
    counts = some_counts(30, 9)
    counts[:, 2], counts[4], counts[5] = 0, 0, 0
    counts[5, 3] = 1
    reference = ad.AnnData(counts.copy())
    sc.pp.filter_genes(reference, min_cells=1)
    sc.pp.filter_cells(reference, min_counts=2)
    found = cells.Cells(sparse.csr_matrix(counts), np.array(["x"] * 30), np.array(list("abcdefghi"))).filtered()
    assert (found.counts.toarray() == reference.X).all()
    assert "".join(found.genes) == "abdefghi"
    assert len(found.labels) == reference.n_obs


def test_the_cache_needs_no_pickle(tmp_path):
    wanted = cells.Cells(sparse.csr_matrix(some_counts()), np.array(["é"] * 12), None)
    cells.save_npz(wanted, tmp_path / "a.npz")
    found = cells.load_npz(tmp_path / "a.npz")
    assert (found.counts != wanted.counts).nnz == 0
    assert list(found.labels) == ["é"] * 12 and found.genes is None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/", folder
        http.shutdown()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RATCHET_DATA", raising=False)
    openproblems.cells.cache_clear()
    yield tmp_path / "cache"
    openproblems.cells.cache_clear()


def test_openproblems_data_are_fetched_filtered_and_told_apart_by_split(server, empty_cache):
    address, folder = server
    kinds = ["inDrop1"] * 1600 + ["celseq"] * 50
    pancreas = some_counts(1650, 40)
    saved(folder / "a", pancreas, {"tech": kinds, "celltype": ["beta", "alpha"] * 825}).rename(folder / "36086813")
    saved(folder / "b", some_counts(950, 30)).rename(folder / "36088667")
    assert "ratchet data fetch denoising-openproblems" in (PUBLISHED.missing() or "")
    openproblems.fetch(lambda message: None, address)
    assert PUBLISHED.missing() is None
    search, report = PUBLISHED.cells(Split.SEARCH), PUBLISHED.cells(Split.REPORT)
    assert (search.counts.toarray() == pancreas[:1600]).all()
    assert set(search.labels) == {"alpha", "beta"}
    assert report.counts.shape == (950, 30) and report.labels is None
    told = PUBLISHED._advice({"likelihood_margin": 0.1}, Split.SEARCH)
    assert hashlib.sha256((folder / "36086813").read_bytes()).hexdigest() in told[0]


def test_an_openproblems_file_with_other_cells_is_refused(server, empty_cache):
    address, folder = server
    saved(folder / "a", some_counts(), {"tech": ["inDrop1"] * 12, "celltype": ["x"] * 12}).rename(folder / "36086813")
    with pytest.raises(UserError, match="12 cells of pancreas"):
        openproblems.fetch(lambda message: None, address)
    assert PUBLISHED.missing() is not None


@pytest.mark.skipif(openproblems.missing() is not None, reason="figshare's files are not here")
@pytest.mark.parametrize("source", openproblems.SOURCES, ids=lambda s: s.name)
def test_the_published_constants_are_those_of_the_published_data(source):
    """Within what one thinning differs from another: the published figures are those of a single one."""
    known = metrics.marks(metrics.thin(openproblems.cells(source).counts, np.random.default_rng(0)))
    assert known.none["mse"] == pytest.approx(source.none[0], rel=0.01)
    assert known.none["poisson_openproblems"] == pytest.approx(source.none[1], rel=0.02)
    assert known.perfect["poisson_openproblems"] == pytest.approx(source.perfect[1], rel=0.03)


def test_sorted_cells_come_from_the_public_address_only_with_the_right_hash(server, empty_cache):
    address, folder = server
    (folder / "pbmc_facs.RData").write_bytes(b"something else")
    with pytest.raises(UserError, match="another hash"):
        facs.fetch(lambda message: None, address + "pbmc_facs.RData")


def test_rs_column_compressed_matrix_is_read():
    wanted = some_counts()
    columns = sparse.csc_matrix(wanted)
    matrix = SimpleNamespace(x=columns.data.astype(float), i=columns.indices, p=columns.indptr, Dim=[12, 7])
    kinds, names = pd.DataFrame({"subpop": ["T cell"] * 12}), pd.DataFrame({"ensembl": list("abcdefg")})
    found = facs.from_r({"counts": matrix, "samples": kinds, "genes": names})
    assert (found.counts.toarray() == wanted).all()
    assert set(found.labels) == {"T cell"} and "".join(found.genes) == "abcdefg"


def test_a_wrong_own_copy_is_not_taken(tmp_path, monkeypatch, empty_cache):
    (tmp_path / "pbmc_facs.npz").write_bytes(b"not it")
    monkeypatch.setenv("RATCHET_DATA", str(tmp_path))
    assert "ratchet data fetch denoising-facs" in (facs.missing() or "")


@pytest.mark.skipif(facs.missing() is not None, reason=facs.missing() or "")
def test_the_sorted_cells_are_the_expected_ones():
    found = facs.cells()
    assert found.counts.shape == (3774, 16791)
    assert dict(zip(*np.unique(found.labels, return_counts=True), strict=True)) == {
        "B cell": 767, "CD14+": 163, "CD34+": 687, "NK cell": 673, "T cell": 1484,
    }  # fmt: skip
    assert {gene for kind in facs.MARKERS.values() for gene in kind.values()} <= set(found.genes)


def test_any_file_of_yours_is_divided_into_two_halves(tmp_path, monkeypatch):
    path = saved(tmp_path / "mine.h5ad", some_counts(40, 9) + 1, {"kind": ["a", "b"] * 20})
    assert "set RATCHET_H5AD" in (OWN.missing() or "")
    monkeypatch.setenv("RATCHET_H5AD", str(path))
    monkeypatch.setenv("RATCHET_H5AD_LABEL", "kind")
    halves = [OWN.cells(split) for split in Split]
    assert [half.counts.shape for half in halves] == [(20, 9), (20, 9)]
    rows = {tuple(row) for half in halves for row in half.counts.toarray()}
    assert rows == {tuple(row) for row in some_counts(40, 9) + 1}
    assert halves[0].labels is not None
