"""Sparse features, read block by block: the codes of dense ones, in a bounded memory."""

import tracemalloc

import numpy as np
import pytest
from estimators import every_method, every_transformer, fit, make, make_model
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from fasthash._core.pieces import smaller_pieces
from fasthash._core.rows import Rows
from fasthash._core.validation import check_rows
from fasthash.models.amsh import _fit as amsh_fit
from fasthash.models.rreh import _features as rreh_features
from fasthash.models.rreh import _fit as rreh_fit

KINDS = ["csr_array", "csr_matrix", "csc_array", "coo_matrix"]


@every_method
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_features_give_the_codes_of_dense_ones(method, dtype):
    x, y = make()
    x = {name: values.astype(dtype) for name, values in x.items()}
    dense = fit(make_model(method), x, y)
    for kind in KINDS if dtype == np.float64 else KINDS[:1]:
        given_x = {name: getattr(sparse, kind)(values) for name, values in x.items()}
        model = fit(make_model(method), given_x, y)
        for name in x:
            np.testing.assert_array_equal(model.codes_[name], dense.codes_[name])
            np.testing.assert_array_equal(
                model.encode(given_x[name], name), dense.encode(x[name], name)
            )
            assert (given_x[name] != getattr(sparse, kind)(x[name])).nnz == 0
        if method == "CLSR":
            np.testing.assert_array_equal(
                model.transform(given_x["text"], "text"), dense.transform(x["text"], "text")
            )


@every_transformer
@pytest.mark.parametrize("kind", KINDS)
def test_transformers_take_sparse_features(model, kind):
    x = make()[0]["image"]
    dense, given_sparse = (
        model(n_bits=8, random_state=0).fit(values) for values in (x, getattr(sparse, kind)(x))
    )
    np.testing.assert_array_equal(dense.projection_, given_sparse.projection_)
    np.testing.assert_array_equal(
        dense.transform(x), given_sparse.transform(getattr(sparse, kind)(x))
    )


@every_method
def test_sparse_features_in_many_blocks(method):
    """Blocks of a few rows: neither the whole matrix nor the whole sample is made dense."""
    x, y = make()
    given_x = {name: sparse.csr_array(values) for name, values in x.items()}
    with smaller_pieces(20 * 7):
        dense, model = (fit(make_model(method), values, y) for values in (x, given_x))
    for name in x:
        np.testing.assert_array_equal(model.codes_[name], dense.codes_[name])


@pytest.mark.filterwarnings("ignore:.*hold only zeros")
@settings(max_examples=30)
@given(
    st.integers(1, 30),
    st.integers(1, 12),
    st.sampled_from([np.int8, np.float32, np.float64]),
    st.integers(0, 2**32 - 1),
)
def test_rows_of_a_sparse_matrix_are_those_of_the_dense_one(n, d, dtype, seed):
    rng = np.random.default_rng(seed)
    values = (rng.integers(-3, 4, (n, d)) * (rng.random((n, d)) < 0.5)).astype(dtype)
    # Places that are given twice count as their sum, as everywhere in scipy.
    row, column = np.nonzero(values)
    twice = sparse.coo_array(
        (np.r_[values[row, column], values[row, column]], (np.r_[row, row], np.r_[column, column])),
        shape=(n, d),
    )
    dense, read = check_rows(2 * values, "X"), check_rows(twice, "X")
    order = rng.permutation(n)
    assert read.shape == dense.shape and read.dtype == dense.dtype
    np.testing.assert_array_equal(read.read(slice(0, n)), dense.read(slice(0, n)))
    np.testing.assert_array_equal(read.take(order), dense.take(order))
    np.testing.assert_array_equal(read.subset(order).read(slice(0, n)), dense.take(order))
    np.testing.assert_array_equal(read.column_means(), dense.column_means())
    assert read.is_constant() == dense.is_constant()


def test_column_means_do_not_depend_on_blocks():
    x = np.random.default_rng(0).standard_normal((2000, 7)).astype(np.float32) + 100
    whole = Rows(x, np.float32).column_means()
    np.testing.assert_array_equal(whole, x.mean(axis=0, dtype=np.float64))
    with smaller_pieces(100):
        np.testing.assert_array_equal(Rows(x, np.float32).column_means(), whole)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([[1.0, 0, np.nan]], ValueError, r"X\[0, 2\] is nan: features must be finite"),
        ([[1j, 0, 0]], TypeError, "X must hold real numbers, got dtype complex128"),
        (np.zeros((0, 3)), ValueError, "X is empty"),
        (np.zeros((2, 4)), ValueError, "X has 4 columns, but the model was fitted with 3"),
    ],
)
def test_unsuitable_sparse_features_are_refused(values, error, message):
    with pytest.raises(error, match=message):
        check_rows(sparse.csr_array(np.asarray(values)), "X", 3)


@pytest.mark.filterwarnings("ignore:.*hold only zeros")
@pytest.mark.parametrize("method", ["AMSH", "RREH", "CCAITQ"])
def test_sparse_features_are_never_dense_as_a_whole(method, monkeypatch):
    """4,000 x 4,000 would be 128 MB dense; the blocks are small."""
    n, d, limit = 4000, 4000, 60e6
    if method == "RREH":
        # 160 MB, and covariances of the columns would be 200 MB. Its features take d x 384.
        d, limit = 5000, 100e6
    rng = np.random.default_rng(0)
    x = {
        "image": sparse.random_array((n, d), density=0.002, random_state=rng, format="csr"),
        "text": rng.standard_normal((n, 10)),
    }
    if method == "CCAITQ":
        # It holds covariances of d x d: fewer columns, more rows.
        x["image"] = sparse.random_array(
            (100 * n, 50), density=0.02, random_state=rng, format="csr"
        )
        x["text"] = rng.standard_normal((100 * n, 2))
    monkeypatch.setattr(amsh_fit, "_KEPT_BYTES", 0)
    monkeypatch.setattr(rreh_fit, "_KEPT_BYTES", 0)
    parameters = {"n_sweeps": 1} if method != "CCAITQ" else {"n_bits": 2, "n_iterations": 1}
    model = make_model(method, **parameters)
    y = rng.integers(0, 3, x["text"].shape[0])
    tracemalloc.start()
    try:
        with smaller_pieces(1 << 18):
            fit(model, x, y).encode(x["image"], "image", n_threads=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit


def test_principal_components_of_many_columns_without_their_covariances(monkeypatch):
    rng = np.random.default_rng(0)
    n, d = 900, 500
    x = rng.standard_normal((n, d)) * 0.99 ** np.arange(d)
    x[rng.random((n, d)) < 0.5] = 0
    rows = check_rows(sparse.csr_array(x), "x")
    exact = rreh_features.linear_features(rows).basis
    monkeypatch.setattr(rreh_features, "_MOST_COVARIANCE", 400)
    found = rreh_features.linear_features(rows).basis
    assert found.shape == exact.shape == (d, 384)
    covariance = np.cov(x.T, bias=True)
    kept, most = (np.trace(basis.T @ covariance @ basis) for basis in (found, exact))
    assert kept == pytest.approx(1)
    assert most == pytest.approx(1)
    # Both have the scale that makes the mean squared norm 1; the variance before it is compared.
    lengths = [np.linalg.norm(basis, axis=0) for basis in (found, exact)]
    for basis, length in zip((found, exact), lengths, strict=True):
        np.testing.assert_allclose(basis.T @ basis, length[0] ** 2 * np.eye(384), atol=1e-10)
    assert 0.995 < (lengths[1][0] / lengths[0][0]) ** 2 <= 1 + 1e-12
    features = {"image": x, "text": x[:, :20]}
    models = [make_model("RREH").fit(features, n_threads=t) for t in (1, 3)]
    for a, b in zip(*(model.codes_.values() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
