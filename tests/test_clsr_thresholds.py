"""Codes of CLSR with several thresholds for each direction: their definition, choice and use."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasthash as fh
from clips import fit, make_clips
from fasthash.models.clsr import _codes
from test_saving import learned, rewrite

torch = pytest.importorskip("torch", reason="CLSR trains with PyTorch: pip install '.[clsr]'")

LATENTS = {"reconstruction_in_latents": 1, "variates_in_latents": 0}


def count_bits(x, n_bits, rotation):
    """The definition, bit by bit: directions get their thresholds in turn."""
    variances, components = np.linalg.eigh((x.T @ x).astype(np.float64) / len(x))
    n_directions = len(rotation)
    strongest = np.argsort(variances, kind="stable")[-n_directions:]
    columns, offsets = [], []
    for bit in range(n_bits):
        direction, level = bit % n_directions, bit // n_directions
        n_thresholds = len(range(direction, n_bits, n_directions))
        column = np.zeros(x.shape[1])
        for of_strength, i in enumerate(strongest):
            column += (
                max(variances[i], 0) ** 0.25 * rotation[of_strength, direction] * components[:, i]
            )
        values = np.sort(x @ column)
        # The quantile of a sorted row, interpolated linearly.
        place = (level + 0.5) / n_thresholds * (len(values) - 1)
        below, above = values[int(np.floor(place))], values[int(np.ceil(place))]
        columns.append(column)
        offsets.append(below + (place - np.floor(place)) * (above - below))
    return np.array(columns).T, np.array(offsets)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(0, 20),
    st.integers(1, 60),
    st.integers(0, 8),
    st.integers(0, 99),
)
def test_thresholds_are_quantiles_of_weighted_components(n_bits, more, n, n_constant, seed):
    rng = np.random.default_rng(seed)
    n_out = n_bits + more
    x = (rng.standard_normal((n, n_out)) * np.exp(rng.standard_normal(n_out))).astype(np.float32)
    x -= x.mean(axis=0)
    x[:, : min(n_constant, n_out)] = 0
    ours = _codes._with_thresholds(x, n_bits, np.random.RandomState(seed))
    assert ours.shape == (n_out + 1, n_bits) and np.isfinite(ours).all()
    again = _codes._with_thresholds(x, n_bits, np.random.RandomState(seed))
    np.testing.assert_array_equal(ours, again)
    n_directions = (n_bits + 3) // 4
    start = np.random.RandomState(seed).standard_normal((n_directions, n_directions))
    columns, thresholds = count_bits(x, n_bits, np.linalg.qr(start)[0])
    scale = np.abs(x @ columns).max(initial=1e-3)
    np.testing.assert_allclose(ours[:-1], columns, atol=1e-6 * max(np.abs(columns).max(), 1e-3))
    np.testing.assert_allclose(-ours[-1], thresholds, atol=1e-4 * scale)
    # Bits of a direction form a thermometer: a larger threshold is exceeded by no more samples.
    for direction in range(n_directions):
        assert (np.diff(-ours[-1, direction::n_directions]) >= 0).all()


def of_items(mean, error, n=100):
    """Recalls of items with this mean, whose differences to zero have this standard error."""
    around = np.resize([-1.0, 1.0], n)
    return mean + around * error * np.sqrt(n) / around.std(ddof=1)


@pytest.mark.parametrize(
    ("weighted", "thresholds", "taken"),
    [
        # Two standard errors are needed ...
        ((0.19, 0.1), (0.19, 0.1), "plain"),
        ((0.21, 0.1), (0.19, 0.1), "weighted"),
        ((0.19, 0.1), (0.21, 0.1), "thresholds"),
        # ... and of those that have them, the best are taken.
        ((0.3, 0.1), (0.31, 0.1), "thresholds"),
        # Their gain beside each other need not be certain.
        ((0.3, 0.1), (0.31, 0.05), "thresholds"),
        ((0.31, 0.1), (0.3, 0.1), "weighted"),
        # A gain that may be chance does not win against a smaller one that is none.
        ((0.3, 0.1), (0.5, 0.3), "weighted"),
        ((0.5, 0.3), (0.3, 0.1), "thresholds"),
        ((-0.3, 0.1), (-0.3, 0.1), "plain"),
    ],
)
def test_the_best_of_the_codes_that_gain_two_standard_errors_are_taken(
    monkeypatch, weighted, thresholds, taken
):
    results = [np.zeros(100), of_items(*weighted), of_items(*thresholds)]
    tried = []

    def recalls(latents, projection, pairs):
        tried.append(projection)
        return results[len(tried) - 1]

    monkeypatch.setattr(_codes, "_recalls", recalls)
    model = fit(*make_clips(n=80), validation=0.2, parameters={**LATENTS, "n_epochs": 1})
    assert [len(one) for one in tried] == [44, 44, 45]
    which = ["plain", "weighted", "thresholds"].index(taken)
    for name, feature_map in model.feature_maps_.items():
        np.testing.assert_array_equal(model.projections_[name], tried[which])
        assert feature_map.has_constant == (True if taken == "thresholds" else None)


def test_recalls_are_those_of_codes_with_offsets():
    rng = np.random.default_rng(0)
    latents = [rng.standard_normal((30, 6)).astype(np.float32) for _ in range(2)]
    pairs = np.column_stack([np.arange(30), rng.permutation(30)])
    projection, offsets = rng.standard_normal((6, 8)), rng.standard_normal(8)
    ours = _codes._recalls(latents, np.vstack([projection, offsets]), pairs)
    codes = {name: fh.pack(x @ projection + offsets) for name, x in zip("ab", latents, strict=True)}
    scores = fh.retrieval_scores(codes, pairs, ranks=(1, 5, 10), ties="expected")
    np.testing.assert_allclose(
        ours.mean(), sum(sum(one.recall.values()) for one in scores.values()), rtol=1e-12
    )


@pytest.fixture(scope="module", params=[32, 13], ids="{} bits".format)
def model(request):
    """A model whose codes have thresholds; 32 bits are as many as the heads have latents."""
    with pytest.MonkeyPatch.context() as patch:
        recalls = _codes._recalls
        # Codes with thresholds find everything on validation samples.
        patch.setattr(
            _codes,
            "_recalls",
            lambda x, projection, pairs: recalls(x, projection, pairs) + len(projection) // 45,
        )
        patch.setattr(_codes, "_STANDARD_ERRORS", 0.0)
        parameters = {**LATENTS, "n_bits": request.param}
        model = fit(*make_clips(n=150), validation=0.3, parameters=parameters)
    assert all(one.has_constant for one in model.feature_maps_.values())
    return model


@pytest.fixture(scope="module")
def views():
    return make_clips(n=50, seed=1)[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_are_signs_of_projections_less_thresholds(model, views, dtype):
    n_bits = model.n_bits
    for name, x in views.items():
        x = x.astype(dtype)
        latents, projection = model.transform(x, name), model.projections_[name]
        assert latents.shape == (len(x), 44) and projection.shape == (45, n_bits)
        centred = latents - model.feature_maps_[name].mean
        projected = model.project(x, name)
        assert projected.dtype == dtype
        np.testing.assert_allclose(projected, centred @ projection[:-1] + projection[-1], atol=1e-5)
        codes = model.encode(x, name)
        np.testing.assert_array_equal(codes, fh.pack(projected))
        np.testing.assert_array_equal(codes[7], model.encode(x[7:8], name)[0])
    train, _ = make_clips(n=150)
    for name, x in train.items():
        np.testing.assert_array_equal(model.codes_[name], model.encode(x, name))
        # Thresholds divide the samples of the fit about equally.
        share = fh.unpack(model.codes_[name], n_bits).mean(axis=0)
        assert 0.03 < share.min() < 0.3 and 0.7 < share.max() < 0.97


def test_searches_weigh_bits_by_the_distance_from_their_threshold(model, views):
    codes = model.encode(views["audio"], "audio")
    projections = model.project(views["text"], "text")
    expected = fh.topk_weighted(projections, codes, 5)
    found = model.search(views["text"], "text", codes, 5)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    signs = np.where(fh.unpack(codes, model.n_bits), 1.0, -1.0)
    best = (projections @ signs.T).max(axis=1)
    own = np.take_along_axis(projections @ signs.T, found[1][:, :1], axis=1)[:, 0]
    np.testing.assert_allclose(own, best, rtol=1e-2)
    by_distance = model.search(views["text"], "text", codes, 5, weights=False)
    nearest = fh.topk(model.encode(views["text"], "text"), codes, 5)
    np.testing.assert_array_equal(by_distance[1], nearest[1])


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


def test_a_saved_and_a_pickled_model_have_the_thresholds(model, views, tmp_path):
    model.save(tmp_path / "x")
    for copied in (fh.load(tmp_path / "x"), pickle.loads(pickle.dumps(model))):
        assert copied.fingerprint() == model.fingerprint()
        for name, x in views.items():
            # Products may be rounded in another way where an array is aligned otherwise.
            ours, theirs = copied.project(x, name), model.project(x, name)
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
            np.testing.assert_array_equal(copied.encode(x, name), model.encode(x, name))


@pytest.mark.parametrize("wrong", [False, "yes", None, 2])
def test_a_file_whose_projections_do_not_fit_the_constant_is_refused(model, tmp_path, wrong):
    model.save(tmp_path / "x")
    rewrite(
        tmp_path / "x",
        lambda tree, _: learned(tree, "feature_maps_", "text").update(has_constant=wrong),
    )
    with pytest.raises(ValueError, match="is damaged"):
        fh.load(tmp_path / "x")


def test_commands_find_what_the_model_finds(model, views, tmp_path, monkeypatch, capsys):
    import json

    from command_line import run

    monkeypatch.chdir(tmp_path)
    model.save("m.model")
    for name, x in views.items():
        np.save(f"{name}.npy", x)
    run(
        capsys,
        "encode --model m.model --modality audio --features audio.npy --output audio.npz "
        "--latents latents.npy",
    )
    np.testing.assert_array_equal(np.load("latents.npy"), model.transform(views["audio"], "audio"))
    run(capsys, "index build audio.index --codes audio.npz")
    codes = model.encode(views["audio"], "audio")
    search = "search audio.index --model m.model --modality text --features text.npy -k 3 --json"
    for extra, options in (
        ("", {}),
        (" --no-weights", {"weights": False}),
        (
            " --rerank latents.npy --candidates 20",
            {"latents": np.load("latents.npy"), "n_candidates": 20, "weights": False},
        ),
    ):
        out, _ = run(capsys, search + extra)
        ids = model.search(views["text"], "text", codes, 3, **options)[1]
        assert [json.loads(line)["ids"] for line in out.splitlines()] == ids.tolist()
