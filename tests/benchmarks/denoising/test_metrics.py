"""The metrics against sums written out by hand, against scikit-learn and scanpy, and against their own laws."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse
from sklearn.metrics import mean_squared_error

from benchmarks.denoising import metrics


def counts_like(cells: int, genes: int, high: int = 9) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.int64, (cells, genes), elements=st.integers(0, high))


def csr(rows) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.asarray(rows, dtype=np.float32))


TRAIN = csr([[4, 0, 1], [0, 2, 3]])
TEST = csr([[1, 0, 0], [0, 0, 2]])
PREDICTION = np.array([[3.0, 1.0, 1.0], [0.0, 2.0, 3.0]])


def test_mse_by_hand():
    first = np.log1p(10_000 * np.array([0.6, 0.2, 0.2])) - np.log1p([10_000, 0, 0])
    second = np.log1p(10_000 * np.array([0, 0.4, 0.6])) - np.log1p([0, 0, 10_000])
    assert metrics.mse_per_cell(PREDICTION, TEST) == pytest.approx([np.mean(first**2), np.mean(second**2)])
    assert metrics.mse(PREDICTION, TEST) == pytest.approx((np.mean(first**2) + np.mean(second**2)) / 2)


def test_poisson_by_hand():
    rates = PREDICTION * 3 / 10
    wanted = (rates.sum() - 1 * np.log(rates[0, 0] + 1e-6) - 2 * np.log(rates[1, 2] + 1e-6)) / 6
    assert metrics.poisson(PREDICTION, TRAIN, TEST) == pytest.approx(wanted)


def test_poisson_of_openproblems_by_hand():
    rates, test = PREDICTION * 3 / 10, TEST.toarray()
    assert metrics.poisson_openproblems(PREDICTION, TRAIN, TEST) == pytest.approx(
        np.mean(test - rates * np.log(test + 1e-6))
    )


@given(counts_like(7, 5), counts_like(7, 5))
def test_mse_is_that_of_scikit_learn_on_scanpys_normalisation(prediction, test):
    """The published recipe, by the libraries that the published code calls."""
    sc = pytest.importorskip("scanpy")
    ad = pytest.importorskip("anndata")
    assume(prediction.sum(axis=1).all() and test.sum(axis=1).all())
    pair = []
    for rows in (prediction, test):
        cells = ad.AnnData(rows.astype(np.float64))
        sc.pp.normalize_total(cells, target_sum=10_000)
        sc.pp.log1p(cells)
        pair.append(cells.X)
    assert metrics.mse(prediction.astype(float), csr(test)) == pytest.approx(mean_squared_error(*pair))


@given(counts_like(6, 4), counts_like(6, 4), st.floats(0.1, 50))
def test_mse_ignores_the_size_of_a_cell(prediction, test, factor):
    assert metrics.mse(prediction * factor, csr(test)) == pytest.approx(metrics.mse(prediction, csr(test)))


@given(counts_like(300, 3))
def test_chunks_change_nothing(rows):
    whole = metrics.mse_per_cell(np.ones((300, 3)), csr(rows))
    halves = [metrics.mse_per_cell(np.ones((150, 3)), csr(half)) for half in (rows[:150], rows[150:])]
    assert whole == pytest.approx(np.concatenate(halves))


@given(arrays(np.float64, (4, 3), elements=st.floats(0.01, 50)))
def test_poisson_is_smallest_at_the_test_counts(prediction):
    best = TEST.toarray() / (TEST.sum() / TRAIN.sum())
    some = prediction[:2]
    assert metrics.poisson(best, TRAIN, TEST) <= metrics.poisson(some, TRAIN, TEST) + 1e-5


def test_exchanged_arguments_reward_absurd_predictions():
    """Why the published loss is recorded and never ranked by: mass where two molecules fell always helps."""
    absurd = PREDICTION.copy()
    absurd[1, 2] = 1e6
    assert metrics.poisson_openproblems(absurd, TRAIN, TEST) < metrics.poisson_openproblems(PREDICTION, TRAIN, TEST)
    assert metrics.poisson(absurd, TRAIN, TEST) > metrics.poisson(PREDICTION, TRAIN, TEST)


def test_normalised_is_0_for_none_and_1_for_the_test_counts():
    split = metrics.Thinned(TRAIN, TEST, np.ones(3, dtype=bool))
    none, perfect = metrics.all_metrics(TRAIN.toarray(), split), metrics.all_metrics(TEST.toarray(), split)
    for name in ("mse", "poisson", "poisson_openproblems"):
        assert none[f"{name}_norm"] == 0
        assert perfect[f"{name}_norm"] == 1
    with pytest.raises(ValueError, match="same loss"):
        metrics.normalised(1.0, 2.0, 2.0)


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (6,), (2, 3, 1)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        metrics.mse_per_cell(np.ones(shape), TEST)


@given(counts_like(8, 6, high=300), st.integers(0, 2**63))
def test_thinning_gives_every_molecule_to_one_side(rows, seed):
    split = metrics.thin(csr(rows), np.random.default_rng(seed))
    assert ((split.train + split.test).toarray() == rows[:, split.kept]).all()
    assert split.train.toarray().min(initial=0) >= 0
    assert split.test.toarray().min(initial=0) >= 0
    assert (np.asarray(split.train.sum(axis=0)).ravel() > 0).all()


def test_thinning_sends_nine_tenths_to_training():
    split = metrics.thin(csr(np.full((100, 50), 20)), np.random.default_rng(0))
    # 100,000 molecules: the standard deviation of the share is 0.00095.
    assert split.train.sum() / 100_000 == pytest.approx(0.9, abs=0.006)


def test_thinning_is_fixed_by_its_seed():
    first, again, other = (metrics.thin(csr(np.full((9, 9), 5)), np.random.default_rng(s)) for s in (1, 1, 2))
    assert (first.train != again.train).nnz == 0
    assert (first.train != other.train).nnz > 0


@pytest.mark.parametrize("bad", [-1.0, 0.5, np.nan, np.inf])
def test_only_counts_are_thinned(bad):
    with pytest.raises(ValueError, match="integer counts"):
        metrics.thin(csr([[1, bad], [2, 3]]), np.random.default_rng(0))


@given(counts_like(7, 5), counts_like(7, 5), counts_like(7, 5))
def test_dense_and_sparse_predictions_score_alike(prediction, train, test):
    assume(train.sum() and test.sum())
    split = metrics.Thinned(csr(train), csr(test), np.ones(5, dtype=bool))
    dense = metrics.losses(prediction.astype(np.float32), split)
    assert metrics.losses(csr(prediction), split) == pytest.approx(dense)
    assert metrics.losses(sparse.csc_matrix(prediction), split) == pytest.approx(dense)


@given(counts_like(7, 5), counts_like(7, 5), st.integers(100, 2000))
def test_the_size_of_a_block_changes_nothing(prediction, test, size):
    whole = metrics.squared_errors(prediction, csr(test))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK_BYTES", size // 10)
        parts = metrics.squared_errors(prediction, csr(test))
    assert parts[0] == pytest.approx(whole[0])
    assert parts[1] == pytest.approx(whole[1])
    assert parts[0].mean() == pytest.approx(parts[1].mean())


@given(counts_like(6, 4), counts_like(6, 4))
def test_the_mean_cell_is_scored_without_being_written_out(train, test):
    assume(train.sum() and test.sum())
    mean_cell = train.sum(axis=1, keepdims=True) * (train.sum(axis=0) / train.sum())
    wanted = metrics.poisson(mean_cell, csr(train), csr(test))
    assert metrics.poisson_of_mean_cell(csr(train), csr(test)) == pytest.approx(wanted)


def test_combined_scores_and_margin_are_what_they_say():
    split = metrics.Thinned(TRAIN, TEST, np.ones(3, dtype=bool))
    found = metrics.all_metrics(PREDICTION, split)
    assert found["combined"] == pytest.approx((found["mse_norm"] + found["poisson_norm"]) / 2)
    published = (found["mse_norm"] + found["poisson_openproblems_norm"]) / 2
    assert found["combined_openproblems"] == pytest.approx(published)
    mean_cell = np.outer([5, 5], np.array([4, 2, 4]) / 10)
    assert metrics.all_metrics(mean_cell, split)["likelihood_margin"] == pytest.approx(0)


def test_openproblems_own_recipe_gives_the_same_numbers():
    """Their formula line by line: `poisson_nll_loss(test, denoised)`, whose signature is (y_pred, y_true)."""
    denoised, test = PREDICTION * TEST.sum() / TRAIN.sum(), TEST.toarray()
    y_pred, y_true = test, denoised
    assert metrics.poisson_openproblems(PREDICTION, TRAIN, TEST) == pytest.approx(
        (y_pred - y_true * np.log(y_pred + 1e-6)).mean()
    )
    assert metrics.poisson(PREDICTION, TRAIN, TEST) == pytest.approx((denoised - test * np.log(denoised + 1e-6)).mean())
