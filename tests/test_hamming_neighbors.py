"""`HammingNeighbors`: scikit-learn's checks, brute force, and algorithms that take its graphs."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import DBSCAN, HDBSCAN
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import parametrize_with_checks

import fasthash as fh
from fasthash.neighbors import HammingNeighbors


class OfNumbers(HammingNeighbors):
    """
    Makes a byte of each number, because scikit-learn's checks fit floats.

    These numbers are no packed codes, and `HammingNeighbors` refuses them.
    """

    def fit(self, X, y=None):
        return super().fit(as_bytes(X), y)

    def _queries(self, X):
        return super()._queries(None if X is None else as_bytes(X))


def as_bytes(X):
    return (check_array(X, estimator="OfNumbers") * 16).astype(np.int64).astype(np.uint8)


def failures_expected(estimator):
    why = "the names are columns of the data frame, and OfNumbers makes an array of it"
    return {"check_dataframe_column_names_consistency": why}


@parametrize_with_checks(
    [OfNumbers(n_neighbors=1), OfNumbers(radius=1, metric="jaccard")],
    expected_failed_checks=failures_expected,
)
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


def make_codes(n=300, n_bits=64, seed=0):
    """Codes around few centres, some of them equal."""
    rng = np.random.default_rng(seed)
    bits = (rng.random((6, n_bits)) < 0.3)[rng.integers(0, 6, n)]
    return np.packbits(bits ^ (rng.random(bits.shape) < 0.04), axis=1)


def brute_force(codes, metric):
    """scikit-learn's neighbours of the bits; its Hamming distance is a share of the bits."""
    bits = np.unpackbits(codes, axis=1).astype(bool)
    unit = bits.shape[1] if metric == "hamming" else 1
    return NearestNeighbors(metric=metric, algorithm="brute").fit(bits), bits, unit


@pytest.mark.parametrize("metric", ["hamming", "jaccard"])
def test_neighbours_are_those_of_brute_force(metric):
    codes = make_codes(340)
    codes, queries = codes[:300], codes[300:]
    queries[0] = codes[3]
    peer, bits, unit = brute_force(codes, metric)
    model = HammingNeighbors(metric=metric).fit(codes)
    for X, x in ((None, None), (queries, np.unpackbits(queries, axis=1).astype(bool))):
        distances, rows = model.kneighbors(X, n_neighbors=7)
        np.testing.assert_allclose(distances, peer.kneighbors(x, 7)[0] * unit)
        asked = bits if x is None else x
        of_rows = peer.kneighbors(asked, len(codes))
        # Equal distances come in another order from scikit-learn.
        matrix = np.empty_like(of_rows[0])
        np.put_along_axis(matrix, of_rows[1], of_rows[0] * unit, 1)
        np.testing.assert_allclose(np.take_along_axis(matrix, rows, 1), distances)
        assert X is not None or (rows != np.arange(300)[:, None]).all()
        radius = 6 if metric == "hamming" else 0.25
        graph = model.radius_neighbors_graph(X, radius=radius, mode="distance")
        expected = peer.radius_neighbors_graph(x, radius / unit, mode="distance")
        np.testing.assert_allclose(graph.toarray(), expected.toarray() * unit)
        # Pairs of equal codes have a distance of 0, which is stored.
        assert graph.nnz == expected.nnz and (graph.data == 0).any()
        lists = model.radius_neighbors(X, radius=radius)
        np.testing.assert_array_equal(np.concatenate(lists[1]), graph.indices)
        np.testing.assert_array_equal(np.concatenate(lists[0]), graph.data)


def test_graphs_have_the_sizes_of_scikit_learn_and_a_diagonal():
    codes = make_codes()
    # More equal codes than neighbours.
    codes[:20] = codes[0]
    for mode, n in (("distance", 6), ("connectivity", 5)):
        model = HammingNeighbors(mode=mode)
        graph = model.fit_transform(codes)
        assert (np.diff(graph.indptr) == n).all()
        of_row = graph.indices.reshape(-1, n)
        np.testing.assert_array_equal(of_row[:, 0], np.arange(300))
        assert all(len(set(row)) == n for row in of_row.tolist())
        again = model.transform(codes)
        np.testing.assert_array_equal(np.sort(again.data), np.sort(graph.data))
    for metric, radius in (("hamming", 6), ("jaccard", 0.3)):
        model = HammingNeighbors(radius=radius, metric=metric)
        graph, again = model.fit_transform(codes), model.transform(codes)
        for part in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(graph, part), getattr(again, part))
    assert list(model.get_feature_names_out()[:2]) == ["hammingneighbors0", "hammingneighbors1"]


def test_algorithms_take_its_graphs():
    codes = make_codes()
    full = fh.distances(codes, codes).astype(float)
    found = make_pipeline(HammingNeighbors(radius=6), DBSCAN(eps=6, metric="precomputed"))
    expected = DBSCAN(eps=6, metric="precomputed").fit_predict(full)
    np.testing.assert_array_equal(found.fit_predict(codes), expected)
    assert len(set(expected)) > 3
    # HDBSCAN takes a distance of 0 for a missing one, so there is one of all equal codes.
    different = np.unique(codes, axis=0)
    hdbscan = HDBSCAN(min_cluster_size=15, metric="precomputed", copy=True)
    labels = make_pipeline(HammingNeighbors(radius=32), hdbscan).fit_predict(different)
    full = fh.distances(different, different).astype(float)
    # The clusters may have other numbers.
    assert adjusted_rand_score(labels, hdbscan.fit_predict(full)) > 0.98
    assert len(set(labels)) > 3
    graph = HammingNeighbors(n_neighbors=100).fit_transform(codes)
    # HDBSCAN with scipy 1.11 takes no other type.
    assert graph.indices.dtype == graph.indptr.dtype == np.int32
    tsne = TSNE(metric="precomputed", init="random", perplexity=10, max_iter=250, random_state=0)
    assert np.isfinite(tsne.fit_transform(graph)).all()


def test_what_is_refused():
    codes = make_codes(9)
    with pytest.raises(TypeError, match="X must be packed codes of dtype uint8"):
        HammingNeighbors().fit(codes.astype(float))
    with pytest.raises(ValueError, match="metric must be one of 'hamming', 'jaccard'"):
        HammingNeighbors(metric="cosine").fit(codes)
    model = HammingNeighbors(n_neighbors=9).fit(codes)
    with pytest.raises(ValueError, match="n_neighbors=9 is more than the 8 codes other than"):
        model.kneighbors()
    assert model.kneighbors(codes)[1].shape == (9, 9)
    with pytest.raises(ValueError, match="X has 3 features, but HammingNeighbors is expecting 8"):
        model.kneighbors(codes[:, :3])
    with pytest.raises(ValueError, match="radius is None here and in the constructor"):
        model.radius_neighbors()
    assert clone(model).get_params() == model.get_params()
