"""CCA-ITQ: what it should find on data with a known common part, and refusals."""

import numpy as np
import pytest

import fasthash as fh


def make_pairs(n=400, shared=8, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, shared))
    return {
        name: common @ rng.standard_normal((shared, d)) + noise * rng.standard_normal((n, d)) + 5
        for name, d in (("image", 20), ("text", 12))
    }


def test_pairs_get_nearly_the_same_codes():
    features = make_pairs()
    model = fh.CCAITQ(n_bits=8, random_state=0).fit(features)
    distances = fh.distances(model.codes_["image"], model.codes_["text"])
    assert np.diag(distances).mean() < 0.5 < 3 < distances.mean()
    for name, x in features.items():
        np.testing.assert_array_equal(model.encode(x, name), model.codes_[name])


def test_correlations_are_those_of_the_common_part():
    model = fh.CCAITQ(n_bits=12, ridge=1e-4, random_state=0).fit(make_pairs())
    correlations = model.correlations_
    assert (np.diff(correlations) <= 0).all()
    assert correlations[7] > 0.95 and correlations[8] < 0.5


def test_the_rotation_brings_scores_nearer_to_bits():
    features = make_pairs()
    image = features["image"]
    losses = []
    for n_iterations in (1, 50):
        model = fh.CCAITQ(n_bits=8, n_iterations=n_iterations, random_state=0).fit(features)
        scores = model.feature_maps_["image"].transform(image) @ model.projections_["image"]
        losses.append(np.mean((scores - np.where(scores >= 0, 1, -1)) ** 2))
    assert losses[1] < losses[0]


def scatter(features, n_paired, seed=0):
    """Shuffle each modality apart; say where its first rows went, and drop a last row of text."""
    rng = np.random.default_rng(seed)
    places = {name: rng.permutation(len(x)) for name, x in features.items()}
    shuffled = {name: np.empty_like(x) for name, x in features.items()}
    for name, x in features.items():
        shuffled[name][places[name]] = x
    last = places["text"][-1]
    shuffled["text"] = np.delete(shuffled["text"], last, axis=0)
    places["text"] = places["text"] - (places["text"] > last)
    return shuffled, np.column_stack([places[name][:n_paired] for name in features])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_pairs_are_learned_from(dtype):
    features = {name: x.astype(dtype) for name, x in make_pairs().items()}
    shuffled, pairs = scatter(features, 150)
    model = fh.CCAITQ(n_bits=8, random_state=0).fit(shuffled, pairs=pairs)
    alone = fh.CCAITQ(n_bits=8, random_state=0).fit({n: x[:150] for n, x in features.items()})
    np.testing.assert_array_equal(model.correlations_, alone.correlations_)
    for column, (name, x) in enumerate(shuffled.items()):
        np.testing.assert_array_equal(model.projections_[name], alone.projections_[name])
        assert len(model.codes_[name]) == len(x)
        np.testing.assert_array_equal(model.codes_[name], model.encode(x, name))
        np.testing.assert_array_equal(model.codes_[name][pairs[:, column]], alone.codes_[name])


def test_pairs_in_order_are_the_default():
    features = make_pairs()
    default = fh.CCAITQ(n_bits=8, random_state=0).fit(features)
    given = fh.CCAITQ(n_bits=8, random_state=0).fit(features, np.stack([np.arange(400)] * 2, 1))
    for name in features:
        np.testing.assert_array_equal(given.codes_[name], default.codes_[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": np.random.default_rng(0).random((399, 12))}, "pairs is None"),
        ({"text": np.ones((400, 12))}, "same row"),
    ],
)
def test_what_it_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        fh.CCAITQ(n_bits=8).fit({**make_pairs(), **change})


def test_more_bits_than_directions():
    features = make_pairs(noise=0.01)
    model = fh.CCAITQ(n_bits=40, n_components=6, random_state=0).fit(features)
    assert model.correlations_.shape == (6,)
    assert model.codes_["text"].shape == (400, 5)
    distances = fh.distances(model.codes_["image"], model.codes_["text"])
    assert np.diag(distances).mean() < 2 < 10 < distances.mean()
    few = fh.CCAITQ(n_bits=40, random_state=0).fit(features)
    assert few.correlations_.shape == (12,)


def test_three_modalities():
    features = make_pairs()
    features["audio"] = features["image"][:, ::-1] * 2
    model = fh.CCAITQ(n_bits=8, random_state=0).fit(features)
    for one, other in (("image", "audio"), ("audio", "text")):
        distances = fh.distances(model.codes_[one], model.codes_[other])
        assert np.diag(distances).mean() < 1 < 3 < distances.mean()


def test_a_constant_modality_among_the_pairs():
    features = make_pairs()
    features["text"][:5] = 1.0
    with pytest.raises(ValueError, match="same row for all samples to learn from"):
        fh.CCAITQ(n_bits=8).fit(features, pairs=np.stack([np.arange(5)] * 2, 1))


def test_the_chosen_ridge_is_better_than_a_small_one():
    """With more features than pairs, directions with a small ridge find no partners."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((300, 6))
    x = {
        name: common @ rng.standard_normal((6, 80)) + 2 * rng.standard_normal((300, 80))
        for name in ("image", "text")
    }
    pairs = np.stack([np.arange(100)] * 2, axis=1)
    distances = []
    for ridge in (None, 1e-2):
        model = fh.CCAITQ(32, ridge=ridge, random_state=0).fit(x, pairs)
        assert set(model.ridges_) == set(x)
        assert ridge is None or model.ridges_ == pytest.approx(dict.fromkeys(x, ridge))
        rest = fh.distances(model.codes_["image"][100:], model.codes_["text"][100:])
        distances.append(np.diag(rest).mean() / rest.mean())
    assert distances[0] < distances[1] - 0.1


def test_radial_basis_functions_find_a_curved_relation():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 600)
    x = {
        "image": np.column_stack([np.cos(angle), np.sin(angle)]),
        "text": np.column_stack([np.cos(2 * angle), np.sin(2 * angle)]),
    }
    pairs = np.stack([np.arange(300)] * 2, axis=1)
    shares = []
    for kernel in ("linear", "rbf"):
        model = fh.CCAITQ(16, kernel=kernel, n_anchors=50, random_state=0).fit(x, pairs)
        rest = fh.distances(model.codes_["image"][300:], model.codes_["text"][300:])
        shares.append(np.diag(rest).mean() / rest.mean())
    assert model.feature_maps_["text"].anchors.shape == (50, 2)
    assert shares[1] < 0.7 < 0.9 < shares[0]
    again = fh.CCAITQ(16, kernel="rbf", n_anchors=50, random_state=0).fit(x, pairs, n_threads=2)
    np.testing.assert_array_equal(again.codes_["image"], model.codes_["image"])


@pytest.mark.parametrize("n_pairs", [2, 5, 13])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_few_pairs(n_pairs, kernel):
    features = make_pairs()
    pairs = np.stack([np.arange(n_pairs)] * 2, axis=1)
    model = fh.CCAITQ(16, kernel=kernel, random_state=0).fit(features, pairs)
    assert all(np.isfinite(p).all() for p in model.projections_.values())
