"""Refined bits of CLSR: their definition, their fit, and what a model does with them."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasthash as fh
from clips import fit, make_clips
from fasthash.models.clsr import _codes, _refinement
from fasthash.models.clsr._refinement import Refinement, fit_refinement
from test_saving import learned, rewrite

ALONG, EVEN = _refinement._ALONG, _refinement._EVEN


def objective(x, directions, norm, b):
    """The formula of the module, for one sample and one code."""
    y = directions @ b
    length = np.linalg.norm(x)
    return (
        np.sum((x - y) ** 2)
        + ALONG * (x @ y / length - length) ** 2
        + EVEN * (y @ y - norm) ** 2 / norm
    )


def refine_slowly(x, directions, norm, n_sweeps):
    """Change one bit after the other where this lowers the objective; the terms that are equal for
    both values of a bit, which the kernel leaves out, make no difference."""
    b = np.where(x @ directions >= 0, 1.0, -1.0)
    for _ in range(n_sweeps):
        before = b.copy()
        for j in range(len(b)):
            both = [np.where(np.arange(len(b)) == j, value, b) for value in (-1.0, 1.0)]
            costs = [objective(x, directions, norm, one) for one in both]
            b = both[int(costs[1] <= costs[0])]
        if (b == before).all():
            break
    return b


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 24), st.integers(1, 30), st.integers(0, 7), st.integers(0, 99))
def test_refined_bits_are_those_of_the_definition(n_bits, n_latents, n, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, n_latents)).astype(np.float32)
    directions = rng.standard_normal((n_latents, n_bits)) / np.sqrt(n_bits)
    norm = float(rng.uniform(0.3, 3)) * n_latents
    projected = Refinement(directions, norm).project(x)
    assert projected.shape == (n, n_bits) and projected.dtype == np.float32
    products = x.astype(np.float64) @ directions
    for own, values, of_sample in zip(projected, products, x.astype(np.float64), strict=True):
        bits = refine_slowly(of_sample, directions, norm, _refinement._SWEEPS)
        np.testing.assert_array_equal(np.where(own >= 0, 1.0, -1.0), bits)
        # Bits that agree with the projection keep it as their weight; the others weigh nothing.
        agree = bits * values > 1e-9
        np.testing.assert_allclose(own[agree], values[agree], rtol=1e-6)
        assert (np.abs(own[~agree]) <= 2e-9).all()


def test_refinement_lowers_the_objective_and_stops_where_no_bit_lowers_it():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 12)).astype(np.float32)
    fitted = fit_refinement(x, 16, np.random.RandomState(0))
    refined = np.where(fitted.project(x) >= 0, 1.0, -1.0)
    start = np.where(x @ fitted.directions >= 0, 1.0, -1.0)
    assert (refined != start).mean() > 0.02
    for of_sample, b, first in zip(x.astype(np.float64), refined, start, strict=True):
        least = objective(of_sample, fitted.directions, fitted.norm, b)
        assert least <= objective(of_sample, fitted.directions, fitted.norm, first) + 1e-9


def test_a_fit_finds_directions_whose_sums_are_near_the_rows():
    rng = np.random.default_rng(0)
    spread = np.exp(-np.arange(24) / 6)
    train, test = ((rng.standard_normal((600, 24)) * spread).astype(np.float32) for _ in range(2))
    fitted = fit_refinement(train, 32, np.random.RandomState(0))
    assert fitted.directions.shape == (24, 32)
    bits = np.where(fitted.project(test) >= 0, 1.0, -1.0)
    lost = np.sum((test - bits @ fitted.directions.T) ** 2) / np.sum(test**2)
    # Signs of a rotation lose much more.
    rotation = fh.ITQ(24, random_state=0).fit(train).projection_
    projected = test @ rotation
    scale = np.abs(projected).mean()
    lost_by_signs = np.mean((projected - scale * np.where(projected >= 0, 1, -1)) ** 2)
    assert lost < 0.75 * lost_by_signs / np.mean(projected**2)


@pytest.mark.parametrize("n_bits", [1, 2, 13])
def test_rows_that_do_not_vary_can_be_fitted_and_refined(n_bits):
    x = np.zeros((9, 20), np.float32)
    projected = fit_refinement(x, n_bits, np.random.RandomState(0)).project(x)
    assert projected.shape == (9, n_bits) and np.isfinite(projected).all()


@pytest.fixture(scope="module")
def _pytorch():
    pytest.importorskip("torch", reason="CLSR trains with PyTorch: pip install '.[clsr]'")


@pytest.fixture(scope="module", params=[32, 13], ids="{} bits".format)
def model(request, _pytorch):
    parameters = {"reconstruction_in_latents": 1, "n_bits": request.param}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_codes, "_FEWEST_REFINED_BITS", 1)
        model = fit(*make_clips(n=150), parameters=parameters)
    assert all(one.refinement is not None for one in model.feature_maps_.values())
    return model


@pytest.fixture(scope="module")
def views():
    return make_clips(n=50, seed=1)[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_are_signs_of_projections_of_centred_latents(model, views, dtype):
    for name, x in views.items():
        x = x.astype(dtype)
        one = model.feature_maps_[name]
        centred = (model.transform(x, name) - one.mean).astype(np.float32)
        projected = model.project(x, name)
        assert projected.dtype == dtype and projected.shape == (len(x), model.n_bits)
        products = centred @ one.refinement.directions
        agree = np.abs(projected) > 1e-9
        assert 0.7 < agree.mean() < 1
        np.testing.assert_allclose(projected[agree], products[agree], atol=1e-5)
        codes = model.encode(x, name)
        np.testing.assert_array_equal(codes, fh.pack(projected))
        np.testing.assert_array_equal(codes[7], model.encode(x[7:8], name)[0])


@pytest.mark.parametrize("weights", [True, False])
def test_candidates_of_a_search_in_two_stages_are_those_of_the_codes(model, views, weights):
    codes, latents = (f(views["audio"], "audio") for f in (model.encode, model.transform))
    _, candidates = model.search(views["text"], "text", codes, 8, weights=weights)
    asked = model.transform(views["text"], "text")
    expected = fh.rerank(asked, latents, candidates, 3, metric="inner")
    found = model.search(
        *(views["text"], "text", codes, 3),
        **{"latents": latents, "n_candidates": 8, "weights": weights},
    )
    np.testing.assert_array_equal(found[1], expected[1])


def test_a_saved_and_a_pickled_model_refine_alike(model, views, tmp_path):
    model.save(tmp_path / "x")
    for copied in (fh.load(tmp_path / "x"), pickle.loads(pickle.dumps(model))):
        assert copied.fingerprint() == model.fingerprint()
        for name, x in views.items():
            np.testing.assert_array_equal(copied.encode(x, name), model.encode(x, name))
            ours, theirs = copied.project(x, name), model.project(x, name)
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    "wrong", [{"norm": 0.0}, {"norm": float("nan")}, {"norm": "1"}, {"directions": None}]
)
def test_a_file_with_a_damaged_refinement_is_refused(model, tmp_path, wrong):
    model.save(tmp_path / "x")

    def damage(tree, _):
        learned(tree, "feature_maps_", "text")["refinement"]["fields"].update(wrong)

    rewrite(tmp_path / "x", damage)
    with pytest.raises(ValueError, match="is damaged"):
        fh.load(tmp_path / "x")


@pytest.mark.parametrize("taken", ["plain", "weighted", "thresholds"])
@pytest.mark.parametrize("fewest", [32, 33])
@pytest.mark.usefixtures("_pytorch")
def test_codes_with_enough_bits_are_refined_unless_others_find_more(monkeypatch, taken, fewest):
    gain = {"plain": 0, "weighted": 1, "thresholds": 2}[taken]
    tried = []

    def recalls(latents, projection, pairs):
        tried.append(projection)
        return np.full(100, float(len(tried) - 1 == gain))

    monkeypatch.setattr(_codes, "_recalls", recalls)
    monkeypatch.setattr(_codes, "_FEWEST_REFINED_BITS", fewest)
    parameters = {"reconstruction_in_latents": 1, "variates_in_latents": 0, "n_epochs": 1}
    model = fit(*make_clips(n=80), validation=0.2, parameters=parameters)
    is_refined = taken == "plain" and fewest <= 32
    for name, feature_map in model.feature_maps_.items():
        assert (feature_map.refinement is not None) == is_refined
        expected = np.eye(32) if is_refined else tried[gain]
        np.testing.assert_array_equal(model.projections_[name], expected)
