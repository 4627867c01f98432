"""Scoring in real sandboxes: what an honest program gets, and that no cheat gets anything."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from benchmarks.denoising import data, score, trial
from benchmarks.denoising.cells import Cells
from benchmarks.denoising.facs import data as facs
from benchmarks.denoising.facs.score import TASK as FACS
from benchmarks.task import Bench, Candidate, Split, Verdict
from sandboxes import images
from sandboxes.base import SandboxFactory

TASK = score.TASK
CHEATS = sorted((Path(inspect.getfile(score)).parent / "cheats").glob("*.py"))
SEED = 20_26
OTHER_ENDS = {"memory_bomb": Verdict.OOM}
"""Cheats that end in another way than by an answer that is refused."""


@pytest.fixture(scope="module", autouse=True)
def counts() -> sparse.csr_matrix:
    data.fetch(lambda message: None)
    return data.counts(Split.SEARCH)


def test_a_candidate_is_shown_the_training_counts_only(counts, tmp_path):
    one = trial.trials(Cells(counts), SEED, 1)[0]
    (tmp_path / "counts.npz").write_bytes(one.inputs["counts.npz"])
    assert set(one.inputs) == {"counts.npz"}
    with np.load(tmp_path / "counts.npz", allow_pickle=False) as file:
        shown = sparse.csr_matrix((file["data"], file["indices"], file["indptr"]), shape=tuple(file["shape"]))
    assert (shown != one.split.train).nnz == 0
    # The shuffle is undone by `cells`: train + test of a row are the molecules of that cell.
    kept = np.asarray((one.split.train + one.split.test).sum(axis=1)).ravel()
    assert (kept == np.asarray(counts.sum(axis=1)).ravel()[one.cells] - _dropped(counts, one)).all()


def _dropped(counts: sparse.csr_matrix, one: trial.Trial) -> np.ndarray:
    """Molecules of each row that stood in genes without a training count."""
    genes = np.random.default_rng([SEED, 0])
    genes.permutation(counts.shape[0])
    order = genes.permutation(counts.shape[1])
    return np.asarray(counts[one.cells][:, order[~one.split.kept]].sum(axis=1)).ravel()


def test_thinnings_are_independent_and_fixed_by_the_seed(counts):
    cells = Cells(counts)
    first, again = trial.trials(cells, SEED, 2), trial.trials(cells, SEED, 2)
    assert first[0].inputs == again[0].inputs
    assert first[0].inputs != first[1].inputs
    assert first[0].inputs != trial.trials(cells, SEED + 1, 1)[0].inputs


@pytest.mark.sandbox
def test_the_seed_scores_zero_on_every_normalised_measure(bench: Bench):
    (found,) = TASK.score([TASK.seed()], Split.SEARCH, SEED, bench)
    assert found.verdict is Verdict.OK, found.reason
    assert found.value is not None
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]
    assert found.value == pytest.approx(np.mean(list(found.units.values())))
    assert len(found.units) == 350
    for name in ("mse_norm", "poisson_norm", "poisson_openproblems_norm"):
        assert found.secondary[name] == pytest.approx(0, abs=1e-6)


@pytest.mark.sandbox
def test_baselines_stand_in_the_known_order(bench: Bench):
    names = ["library_mean", "none", "magic_reversed", "magic", "svd"]
    found = TASK.score([TASK.baseline(n) for n in names], Split.SEARCH, SEED, bench)
    assert [s.verdict for s in found] == [Verdict.OK] * len(names), [s.reason for s in found]
    values = [s.value or 0.0 for s in found]
    assert values == sorted(values, reverse=True)
    assert found[0].secondary["likelihood_margin"] == pytest.approx(0, abs=1e-6)
    assert all(0.7 < s.secondary["poisson_norm"] < TASK.implausible for s in found[2:])


@pytest.mark.sandbox
@pytest.mark.parametrize("path", CHEATS, ids=lambda p: p.stem)
def test_a_cheat_scores_nothing(path: Path, bench: Bench):
    (found,) = TASK.score([Candidate(source=path.read_text(), name=path.stem)], Split.SEARCH, SEED, bench)
    assert found.verdict is OTHER_ENDS.get(path.stem, Verdict.INVALID)
    assert found.reason
    assert found.value is None
    assert not found.units


@pytest.mark.sandbox
def test_an_answer_nearer_to_the_test_counts_than_the_truth_is_a_hack(bench: Bench, monkeypatch):
    """The evaluator's own leak, made on purpose: hand the test counts over and see them noticed."""
    inputs = trial.Trial.inputs.fget  # type: ignore[attr-defined]

    def leaking(one: trial.Trial) -> dict[str, bytes]:
        answer = one.split.test.toarray().astype("<f4")
        return {**inputs(one), "leak.bin": answer.tobytes()}

    monkeypatch.setattr(trial.Trial, "inputs", property(leaking))
    source = (
        "import numpy as np\n"
        "def denoise(counts):\n"
        "    return np.fromfile('/scratch/leak.bin', dtype='<f4').reshape(counts.shape)\n"
    )
    (found,) = TASK.score([Candidate(source=source)], Split.SEARCH, SEED, bench)
    assert found.verdict is Verdict.REWARD_HACK
    assert found.value is None


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("source", "verdict", "why"),
    [
        ("", Verdict.INVALID, "no function denoise"),
        ("def denoise(counts): return 'counts'", Verdict.INVALID, "no array of real numbers"),
        ("def denoise(counts): raise KeyError('gene')", Verdict.CRASH, "KeyError"),
        ("def denoise(counts): return (counts.toarray() + 1).astype(complex)", Verdict.INVALID, "complex"),
        ("def denoise(counts): return [[object()]]", Verdict.INVALID, "no array of real numbers"),
    ],
)
def test_a_broken_program_gets_a_reason(source: str, verdict: Verdict, why: str, bench: Bench):
    (found,) = TASK.score([Candidate(source=source)], Split.SEARCH, SEED, bench)
    assert (found.verdict, why in found.reason) == (verdict, True), found


def test_a_source_that_could_hold_the_counts_is_not_run(bench: Bench):
    padded = TASK.seed().source + "#" * score.MAX_SOURCE_BYTES
    (found,) = TASK.score([Candidate(source=padded)], Split.SEARCH, SEED, bench)
    assert found.verdict is Verdict.INVALID
    assert "larger" in found.reason


@pytest.mark.sandbox
@pytest.mark.parametrize("answer", ["counts", "counts.toarray()", "np.asfortranarray(counts.toarray())"])
def test_forms_of_an_honest_answer_are_equal(answer: str, bench: Bench):
    source = f"import numpy as np\ndef denoise(counts): return {answer}"
    found = TASK.score([Candidate(source=source), TASK.baseline("none")], Split.SEARCH, SEED, bench)
    assert found[0].verdict is Verdict.OK, found[0].reason
    assert found[0].value == found[1].value


@pytest.mark.sandbox
def test_nothing_outlives_a_thinning(sandboxes: SandboxFactory):
    """Two thinnings of the same cells would give most of the test counts away: each is shown in a place of its own."""
    source = """
import glob, os
import numpy as np
PLACES = ["/scratch", "/tmp", "/dev/shm", "/var/tmp", "/opt/site", "/opt/ratchet/guest", os.path.expanduser("~")]
def denoise(counts):
    for place in PLACES:
        if os.path.exists(place + "/kept.npy"):
            return np.full(counts.shape, np.nan)
    for place in PLACES:
        try:
            np.save(place + "/kept.npy", counts.toarray())
        except OSError:
            pass
    assert os.path.exists("/scratch/kept.npy")
    return counts
"""
    (found,) = TASK.score([Candidate(source=source)], Split.SEARCH, SEED, Bench(sandboxes))
    assert found.verdict is Verdict.OK, found.reason
    assert len(found.units) == 350 * TASK.thinnings
    assert found.secondary["mse_norm"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("source", "image"),
    [
        ("IMAGE = 'scvi'", "scvi"),
        ("import os\nIMAGE = 'scvi'\n", "scvi"),
        ("IMAGE = 'kernels'", "denoising"),
        ("IMAGE = '../../x'", "denoising"),
        ("IMAGE = 'sc' + 'vi'", "denoising"),
        ("if True:\n    IMAGE = 'scvi'", "denoising"),
        ("IMAGE = ", "denoising"),
        ("\0", "denoising"),
        ("(" * 5000, "denoising"),
    ],
)
def test_a_program_may_ask_for_one_of_two_images_in_plain_words(source: str, image: str):
    assert score.image_of(source) == image


@pytest.mark.sandbox
def test_the_report_tells_populations_levels_and_a_map_and_the_search_does_not(bench: Bench):
    search, report = (TASK.score([TASK.seed()], split, SEED, bench)[0] for split in Split)
    assert not search.tables
    assert set(report.tables) == {"mse by level", "map"}
    for row in report.tables["mse by level"]:
        assert row["mse"] == pytest.approx(row["mse_none"])
    assert search.secondary["claimed_mib"] > 10
    assert search.secondary["claimed_seconds"] >= 0


@pytest.mark.slow
@pytest.mark.skipif(facs.missing() is not None, reason=facs.missing() or "")
@pytest.mark.sandbox
def test_sorted_cells_are_scored_with_their_populations_and_markers(sandboxes: SandboxFactory):
    (found,) = FACS.score([FACS.baseline("library_mean")], Split.REPORT, SEED, Bench(sandboxes))
    assert found.verdict is Verdict.OK, found.reason
    assert 0.10 < found.secondary["mse_norm"] < 0.13
    assert found.secondary["likelihood_margin"] == pytest.approx(0, abs=1e-6)
    assert found.secondary["purity_before"] > 0.9 > found.secondary["purity_after"]
    assert found.secondary["marker_leak_after"] == pytest.approx(1, abs=0.01)
    assert len(found.tables["markers"]) == 12


@pytest.mark.slow
def test_memory_stays_below_8_gib_at_the_size_of_the_largest_published_data():
    """24,540 x 16,122, under a limit on the address space; what the metrics add to the data is a matter of blocks."""
    program = Path(__file__).parent / "full_size.py"
    root = str(Path(inspect.getfile(score)).parents[2])
    done = subprocess.run(
        [sys.executable, str(program), "24540", "16122"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["peak_mib"] < 8192
    assert found["losses"]["mse"] > 0


def test_the_deep_baselines_name_an_image_that_is_locked_by_hash_and_built_on_demand():
    for name in ("scvi", "nb_autoencoder"):
        assert score.image_of(TASK.baseline(name).source) == "scvi"
    assert "scvi" in images.ON_DEMAND and "scvi" not in images.names()
    locked = (images.RECIPES / "scvi" / "requirements.lock").read_text()
    assert {"torch", "scvi-tools"} <= images.lock_hashes("scvi").keys()
    assert locked.count("==") == locked.count("--hash=sha256:")
    recipes = [(images.RECIPES / name / "Dockerfile").read_text() for name in ("denoising", "scvi")]
    assert recipes[0] == recipes[1]
