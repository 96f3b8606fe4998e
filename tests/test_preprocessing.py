"""Features brought to one scale within a model, against the same done by hand."""

import numpy as np
import pytest
from estimators import every_method, fit, make, make_model
from scipy import sparse
from threadpoolctl import threadpool_limits

import fasthash as fh
from fasthash._core.features import FeatureMap
from fasthash._core.pieces import smaller_pieces
from fasthash._core.rows import Rows
from fasthash.models._preprocessing import PREPROCESSING, fit_preprocessing


def by_hand(x, kind):
    """What a kind of preprocessing makes of all rows, in float64."""
    if kind == "none":
        return x
    if kind == "unit":
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    centred = x - x.mean(axis=0)
    if kind == "centre":
        return centred / x.std(axis=0).mean()
    standard = centred / x.std(axis=0)
    if kind == "standardise":
        return standard
    variances, directions = np.linalg.eigh(standard.T @ standard / len(x))
    return standard @ directions / np.maximum(np.sqrt(variances), 0.3)


@pytest.mark.parametrize("kind", PREPROCESSING)
def test_preprocessing_is_what_it_says(kind):
    x = make()[0]["image"] + 5
    x[3] = 0
    with smaller_pieces(50):
        found = fit_preprocessing(Rows(x, np.float64), kind).transform(x)
    expected = by_hand(x, kind)
    if kind == "whiten":
        # Components in the other order, each with either sign.
        found, expected = np.abs(found), np.abs(expected[:, ::-1])
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_whitening_does_not_depend_on_the_threads_of_products():
    x = Rows(np.random.default_rng(0).standard_normal((1437, 256)), np.float64)
    components = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            components.append(fit_preprocessing(x, "whiten").components)
    np.testing.assert_array_equal(*components)


def test_columns_that_do_not_move_stay_near_zero():
    x = np.column_stack([np.full(20, 0.1), np.arange(20.0)])
    for kind in ("standardise", "whiten"):
        found = fit_preprocessing(Rows(x, np.float64), kind).transform(x)
        assert np.isfinite(found).all()
        assert np.abs(found).max() < 3
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-12)


# The regression on few samples turns rounding into bits: so with samples enough, and most bits.
@pytest.mark.parametrize("method", ["AMSH", "RREH", "RREH, linear", "CCAITQ"])
@pytest.mark.parametrize("kind", ["centre", "standardise", "unit"])
def test_preprocessing_within_is_preprocessing_before(method, kind):
    x, y = make(300)
    x = {name: values + 3 for name, values in x.items()}
    within = fit(make_model(method, preprocessing=kind), x, y)
    prepared = {name: by_hand(values, kind) for name, values in x.items()}
    before = fit(make_model(method), prepared, y)
    for name in x:
        same = fh.unpack(within.encode(x[name], name) ^ before.encode(prepared[name], name), 8) == 0
        assert same.mean() > 0.99
        same = fh.unpack(within.codes_[name] ^ before.codes_[name], 8) == 0
        assert same.mean() > 0.99


@every_method
@pytest.mark.parametrize("kind", PREPROCESSING)
def test_every_model_takes_every_preprocessing_for_one_modality(method, kind, tmp_path):
    x, y = make()
    model = fit(make_model(method, preprocessing={"text": kind}), x, y)
    codes = model.encode(x["text"], "text")
    np.testing.assert_array_equal(model.encode(sparse.csr_array(x["text"]), "text"), codes)
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    model.save(tmp_path / "x")
    loaded = fh.load(tmp_path / "x")
    assert loaded.preprocessing == {"text": kind}
    np.testing.assert_array_equal(loaded.encode(x["text"], "text"), codes)
    if isinstance(loaded, fh.AMSH):
        grown = [m.partial_fit({"text": x["text"]}, {"text": y}) for m in (model, loaded)]
        np.testing.assert_array_equal(grown[0].codes_["text"], grown[1].codes_["text"])


@pytest.mark.parametrize("method", ["AMSH", "RREH", "CCAITQ"])
def test_no_preprocessing_is_the_default_and_leaves_the_feature_map(method):
    x, y = make()
    model = fit(make_model(method), x, y)
    assert model.preprocessing == "none"
    assert all(isinstance(feature_map, FeatureMap) for feature_map in model.feature_maps_.values())


@every_method
@pytest.mark.parametrize(
    ("given_kinds", "message"),
    [
        ("center", r"preprocessing must be .*'center'"),
        ({"text": "center"}, r"preprocessing\['text'\] must be .*'center'"),
        (
            {"sound": "unit"},
            r"preprocessing is given for \['sound'\], but the modalities of features",
        ),
    ],
)
def test_unknown_preprocessing_is_refused(method, given_kinds, message):
    x, y = make()
    with pytest.raises(ValueError, match=message):
        fit(make_model(method, preprocessing=given_kinds), x, y)
