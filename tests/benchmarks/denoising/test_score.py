"""Scoring in real sandboxes: what an honest program gets, and that no cheat gets anything."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from benchmarks.denoising import data, score
from benchmarks.task import Bench, Candidate, Split, Verdict

TASK = score.TASK
CHEATS = sorted((Path(inspect.getfile(score)).parent / "cheats").glob("*.py"))
SEED = 20_26


@pytest.fixture(scope="module", autouse=True)
def counts() -> sparse.csr_matrix:
    data.fetch(lambda message: None)
    return data.counts(Split.SEARCH)


def test_a_candidate_is_shown_the_training_counts_only(counts, tmp_path):
    trial = score.trials(counts, SEED, 1)[0]
    (tmp_path / "counts.npz").write_bytes(trial.inputs["counts.npz"])
    assert set(trial.inputs) == {"counts.npz"}
    with np.load(tmp_path / "counts.npz", allow_pickle=False) as file:
        shown = sparse.csr_matrix((file["data"], file["indices"], file["indptr"]), shape=tuple(file["shape"]))
    assert (shown != trial.split.train).nnz == 0
    # The shuffle is undone by `cells`: train + test of a row are the molecules of that cell.
    kept = np.asarray((trial.split.train + trial.split.test).sum(axis=1)).ravel()
    assert (kept == np.asarray(counts.sum(axis=1)).ravel()[trial.cells] - _dropped(counts, trial)).all()


def _dropped(counts: sparse.csr_matrix, trial: score.Trial) -> np.ndarray:
    """Molecules of each row that stood in genes without a training count."""
    genes = np.random.default_rng([SEED, 0])
    genes.permutation(counts.shape[0])
    order = genes.permutation(counts.shape[1])
    return np.asarray(counts[trial.cells][:, order[~trial.split.kept]].sum(axis=1)).ravel()


def test_thinnings_are_independent_and_fixed_by_the_seed(counts):
    first, again = score.trials(counts, SEED, 2), score.trials(counts, SEED, 2)
    assert first[0].inputs == again[0].inputs
    assert first[0].inputs != first[1].inputs
    assert first[0].inputs != score.trials(counts, SEED + 1, 1)[0].inputs


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
    names = ["none", "magic_reversed", "magic", "svd"]
    found = TASK.score([TASK.baseline(n) for n in names], Split.SEARCH, SEED, bench)
    assert [s.verdict for s in found] == [Verdict.OK] * len(names), [s.reason for s in found]
    values = [s.value or 0.0 for s in found]
    assert values == sorted(values, reverse=True)
    assert all(0.7 < s.secondary["poisson_norm"] < score.IMPLAUSIBLE_POISSON_NORM for s in found[1:])


@pytest.mark.sandbox
@pytest.mark.parametrize("path", CHEATS, ids=lambda p: p.stem)
def test_a_cheat_scores_nothing(path: Path, bench: Bench):
    (found,) = TASK.score([Candidate(source=path.read_text(), name=path.stem)], Split.SEARCH, SEED, bench)
    assert found.verdict is Verdict.INVALID
    assert found.reason
    assert found.value is None
    assert not found.units


@pytest.mark.sandbox
def test_an_answer_nearer_to_the_test_counts_than_the_truth_is_a_hack(bench: Bench, monkeypatch):
    """The evaluator's own leak, made on purpose: hand the test counts over and see them noticed."""
    inputs = score.Trial.inputs.fget  # type: ignore[attr-defined]

    def leaking(trial: score.Trial) -> dict[str, bytes]:
        answer = trial.split.test.toarray().astype("<f4")
        return {**inputs(trial), "leak.bin": answer.tobytes()}

    monkeypatch.setattr(score.Trial, "inputs", property(leaking))
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
