"""Projections of every method are the numbers whose signs are its codes, and search as weights."""

import numpy as np
import pytest
from estimators import every_method, every_transformer, fit, make, make_model
from scipy import sparse
from sklearn.exceptions import NotFittedError

import fasthash as fh


@every_method
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_are_the_signs_of_projections(method, dtype, monkeypatch):
    x, y = make()
    model = fit(make_model(method), x, y)
    monkeypatch.setattr("fasthash.models._encoding._BLOCK_VALUES", 200)
    for name, values in x.items():
        values = values.astype(dtype)
        projections = model.project(values, name, n_threads=2)
        assert projections.dtype == dtype and projections.shape == (80, 8)
        codes = model.encode(values, name, n_threads=2)
        np.testing.assert_array_equal(fh.pack(projections), codes)
        if method != "CLSR":
            found = model.project(sparse.csr_array(values), name)
            np.testing.assert_allclose(found, projections, atol=1e-5)


@every_transformer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_of_transformers_are_the_signs_of_projections(model, dtype):
    x = make()[0]["image"].astype(dtype)
    model = model(n_bits=8, random_state=0).fit(x)
    projections = model.project(x)
    assert projections.dtype == dtype
    np.testing.assert_array_equal(fh.pack(projections), model.transform(x))
    expected = (x - x.mean(axis=0)).astype(np.float64) @ model.projection_
    np.testing.assert_allclose(projections, expected, atol=1e-4)


def assert_searches(search, project, codes, fingerprint):
    """Check that a bound search does what the functions and the indexes do."""
    ids = np.arange(len(codes)) * 3
    indexes = [fh.HammingIndex(8), fh.MultiIndexHash(8)]
    for index in indexes:
        index.add(codes, ids=ids)
    allowed = np.arange(0, len(codes), 2)
    for weights in (True, False):
        ways = {"weights": weights, "n_threads": 2}
        query = project if weights else fh.pack(project)
        plain = fh.topk_weighted if weights else fh.topk
        expected = plain(query, codes, 5)
        filtered = plain(query, codes, 5, filter=allowed)
        calls = [(codes, np.arange(len(codes)), allowed)]
        calls += [(index, ids, ids[allowed]) for index in indexes]
        for database, names, restricted in calls:
            options = {**ways, "filter": None}
            for want, options["filter"] in ((expected, None), (filtered, restricted)):
                values, found = search(database, 5, **options)
                np.testing.assert_array_equal(values, want[0])
                np.testing.assert_array_equal(found, names[want[1]])
    for wrong, message in (
        (fh.HammingIndex(16), "database holds codes of 16 bits"),
        (codes[:, :0], "database"),
    ):
        with pytest.raises(ValueError, match=message):
            search(wrong, 5)
    with pytest.raises(TypeError, match="weights must be True or False, got None"):
        search(codes, 5, weights=None)
    with pytest.raises(ValueError, match="k must be at least 1"):
        search(codes, 0)


@every_method
def test_a_search_in_one_call(method):
    x, y = make()
    model = fit(make_model(method), x, y)
    assert_searches(
        lambda *args, **options: model.search(x["text"][:9], "text", *args, **options),
        model.project(x["text"][:9], "text"),
        model.codes_["image"],
        model.fingerprint(),
    )


@every_transformer
def test_a_search_of_transformers_in_one_call(model):
    x = make()[0]["image"]
    model = model(n_bits=8, random_state=0).fit(x)
    assert_searches(
        lambda *args, **options: model.search(x[:9], *args, **options),
        model.project(x[:9]),
        model.transform(x),
        model.fingerprint(),
    )


def test_models_that_are_not_fitted():
    codes = np.zeros((1, 8), np.uint8)
    for call in (
        lambda: fh.AMSH().project([[1.0]], "text"),
        lambda: fh.AMSH().search([[1.0]], "text", codes, 1),
        lambda: fh.ITQ().project([[1.0]]),
        lambda: fh.ITQ().search([[1.0]], codes, 1),
    ):
        with pytest.raises(NotFittedError):
            call()
