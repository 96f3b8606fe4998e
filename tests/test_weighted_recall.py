"""Searches with weights and a recall keep it, and have calibrations of their own."""

import numpy as np
import pytest
from test_recall import N_BITS, index_of, near_codes

import fasthash as fh

pytestmark = pytest.mark.usefixtures("lists_answer")


def weights_near(n, seed):
    """Weights of n queries, whose signs are near the codes of `near_codes`."""
    signs = np.where(np.unpackbits(near_codes(n, 300, 0.12, seed), axis=1), 1.0, -1.0)
    return signs * np.random.default_rng(seed).gamma(2, size=signs.shape)


@pytest.fixture(scope="module")
def codes():
    return near_codes(20000, 300, 0.12, 1)


def kept(index, weights, k, **options):
    exact = index.search(weights=weights, k=k, **{**options, "recall": None})[1]
    found = index.search(weights=weights, k=k, **options)[1]
    return np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)])


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("recall", [0.8, 0.95, 0.99])
def test_a_recall_is_kept_on_unseen_queries(codes, k, recall):
    index = index_of(codes)
    calibration = index.calibrate(weights=weights_near(3000, 3), k=k, recall=recall)
    assert kept(index, weights_near(1000, 4), k, recall=recall) >= recall - 0.01
    assert calibration.lower >= recall and calibration.achieved >= calibration.lower
    assert calibration.n_queries == 3000 and calibration.queries == "given"
    assert calibration.share < 0.5
    assert index.weighted_calibration_ == {(k, recall): calibration}
    # Those of the Hamming distance are kept apart.
    assert index.calibration_ == {}
    queries = near_codes(500, 300, 0.12, 4)
    index.search(queries, k, recall=recall)
    assert list(index.calibration_) == [(k, recall)]
    assert index.calibration_[k, recall].queries == "held"
    assert index.weighted_calibration_ == {(k, recall): calibration}


def test_the_scale_of_the_weights_makes_no_difference(codes):
    """A rule has shares of the largest distance, which rounding makes different for each query."""
    index = index_of(codes)
    weights = weights_near(1000, 3)
    # One bit has most of the weight, so all other weights are rounded to small numbers.
    heavy = weights.copy()
    heavy[:, 0] *= 20
    index.calibrate(weights=np.concatenate([weights, heavy]), recall=0.9)
    assert kept(index, weights_near(1000, 4), 10, recall=0.9) >= 0.88
    ids = index.search(weights=weights[:50] * 1e-30, k=10, recall=0.9)[1]
    np.testing.assert_array_equal(ids, index.search(weights=weights[:50], k=10, recall=0.9)[1])
    zeros = index.search(weights=np.zeros((1, N_BITS)), k=3, recall=0.9)
    assert (zeros[0] == 0).all() and (zeros[1] >= 0).all()


def test_the_answer_has_the_true_scores_in_order(codes):
    index = index_of(codes)
    weights = weights_near(1000, 3)
    index.calibrate(weights=weights, recall=0.9)
    found = index.search(weights=weights, k=10, recall=0.9)
    for q in range(20):
        exact = fh.topk_weighted(weights[q : q + 1], index.reconstruct(found[1][q]), 10)
        np.testing.assert_array_equal(found[0][q], exact[0][0])
        assert (np.lexsort((found[1][q], -found[0][q])) == np.arange(10)).all()
    one = index.search(weights=weights, k=10, recall=0.9, n_threads=1)
    alone = [index.search(weights=weights[q : q + 1], k=10, recall=0.9) for q in range(20)]
    for a, b, c in zip(found, one, zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[:20], np.concatenate(c))


def test_without_weights_to_calibrate_with_it_is_exact(codes):
    index = fh.HammingIndex(N_BITS)
    index.add(codes)
    weights = weights_near(200, 4)
    assert kept(index, weights, 10, recall=0.5) == 1
    assert not index._has_lists and index.weighted_calibration_ == {}
    index.partition(n_lists=400)
    assert kept(index, weights, 10, recall=0.5) == 1


def test_changes_filters_and_own_ids(codes):
    index = index_of(codes[:18000])
    weights = weights_near(1500, 3)
    index.calibrate(weights=weights, recall=0.95)
    queries = weights_near(500, 4)
    index.add(codes[18000:])
    assert len(index._storage.state.recent) == 2000
    index.remove(np.arange(0, 18000, 3))
    found = index.search(weights=queries, k=10, recall=0.95)[1]
    assert not np.isin(found, np.arange(0, 18000, 3)).any() and (found >= 18000).any()
    assert kept(index, queries, 10, recall=0.95) >= 0.94
    own = np.where(np.unpackbits(index.codes[:300], axis=1), 1.0, -1.0)
    assert (index.search(weights=own, k=1, recall=0.95)[1][:, 0] == index.ids[:300]).mean() > 0.9
    excluded = index.search(weights=own, k=10, recall=0.95, exclude=index.ids[:300])[1]
    assert not (excluded == index.ids[:300, None]).any()
    # A filter has calibrations of its own, with the weights that were given.
    some = index.prepare_filter(index.ids[::3])
    assert kept(index, queries, 10, recall=0.95, filter=index.ids[::3]) == 1
    calibration = index.calibrate(recall=0.95, filter=some, weights=weights)
    assert some.weighted_calibration_ == {(10, 0.95): calibration} and some.calibration_ == {}
    assert kept(index, queries, 10, recall=0.95, filter=some) >= 0.94
    # The weights are kept for the lists of a new base.
    index.compact()
    assert index.weighted_calibration_ == {}
    assert kept(index, queries, 10, recall=0.95) >= 0.94
    assert index.weighted_calibration_[10, 0.95].n_queries == 1500


def test_refusals(codes):
    index = index_of(codes[:1000], n_lists=10)
    with pytest.raises(TypeError, match="got both"):
        index.calibrate(queries=codes[:5], weights=weights_near(5, 1), recall=0.9)
    with pytest.raises(ValueError, match="weights has no rows"):
        index.calibrate(weights=weights_near(5, 1)[:0], recall=0.9)
    with pytest.raises(ValueError, match="weights has 5 columns"):
        index.calibrate(weights=np.ones((3, 5)), recall=0.9)
    with pytest.raises(TypeError, match="MultiIndexHash searches exactly"):
        fh.MultiIndexHash(N_BITS).search(weights=weights_near(1, 1), k=1, recall=0.9)
