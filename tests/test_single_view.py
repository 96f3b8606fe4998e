"""The transformers of one kind of features: scikit-learn's own checks, quality, edges, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import fasthash as fh

BOTH = [fh.ITQ, fh.RandomHyperplanes]


# The sparse samples of scikit-learn's checks have rows of zeros.
@pytest.mark.filterwarnings("ignore:.*hold only zeros")
# Two bits, because some of the checks have few features.
@parametrize_with_checks(
    [fh.ITQ(n_bits=2), fh.RandomHyperplanes(n_bits=2), fh.RandomHyperplanes(n_bits=70)]
)
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


def make_features(n=600, d=24, rank=8, dtype=np.float64, seed=0):
    """Samples near a subspace, far from the origin."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    return (x + 0.1 * rng.standard_normal((n, d)) + 50).astype(dtype)


@pytest.mark.parametrize("model", BOTH)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("n_bits", [1, 8, 9, 24])
def test_bits_are_the_signs_of_the_projection(model, dtype, n_bits):
    x = make_features(dtype=dtype)
    fitted = model(n_bits=n_bits, random_state=0).fit(x)
    scores = (x - x.mean(axis=0, dtype=np.float64)) @ fitted.projection_
    codes = fitted.transform(x)
    assert codes.dtype == np.uint8 and codes.shape == (len(x), (n_bits + 7) // 8)
    # Where single precision rounds, a sign may differ.
    clear = np.abs(scores) > 1e-3
    np.testing.assert_array_equal(fh.unpack(codes, n_bits)[clear], (scores >= 0)[clear])
    assert clear.mean() > 0.98


@pytest.mark.parametrize("model", BOTH)
def test_one_seed_one_model(model):
    x = make_features()
    first, again, other = (model(n_bits=16, random_state=seed).fit(x) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.projection_, again.projection_)
    assert (first.projection_ != other.projection_).any()
    assert clone(first).get_params() == first.get_params()


def test_itq_turns_the_principal_components():
    x = make_features()
    model = fh.ITQ(n_bits=8, random_state=0).fit(x)
    np.testing.assert_allclose(model.projection_.T @ model.projection_, np.eye(8), atol=1e-10)
    centred = x - x.mean(axis=0)
    _, singular_values, right = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(model.explained_variance_, singular_values[:8] ** 2 / len(x))
    # The same subspace: projecting the columns on the first right vectors changes nothing.
    inside = right[:8].T @ (right[:8] @ model.projection_)
    np.testing.assert_allclose(inside, model.projection_, atol=1e-10)


def test_itq_puts_neighbours_nearer_than_random_hyperplanes_do():
    shares = {model: [] for model in BOTH}
    for seed in range(4):
        x = make_features(n=1000, seed=seed)
        squared = ((x[:100, None] - x[None]) ** 2).sum(axis=2)
        near = np.argsort(squared, axis=1)[:, :20]
        for model in BOTH:
            codes = model(n_bits=16, random_state=seed).fit_transform(x)
            distances = fh.distances(codes[:100], codes)
            among_near = np.take_along_axis(distances, near, axis=1)
            shares[model].append(among_near.mean() / distances.mean())
    assert np.mean(shares[fh.ITQ]) < np.mean(shares[fh.RandomHyperplanes]) < 0.5


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 3.0))
def test_random_hyperplanes_estimate_angles(seed, angle):
    # Two pairs of opposite points, so that the mean is the origin.
    one, other = np.array([1.0, 0.0]), np.array([np.cos(angle), np.sin(angle)])
    x = 7.0 * np.array([one, other, -one, -other]) + 100
    codes = fh.RandomHyperplanes(n_bits=4000, random_state=seed).fit_transform(x)
    # Six standard deviations of a share of 4000 bits.
    assert abs(fh.distances(codes[:1], codes[1:2])[0, 0] / 4000 - angle / np.pi) < 0.048


def test_constant_features_have_no_say():
    x = make_features()
    with pytest.warns(UserWarning, match=r"hold one value in all \d+ rows \(24, 25, 26\)"):
        model = fh.ITQ(n_bits=8, random_state=0).fit(np.hstack([x, np.full((len(x), 3), 0.7)]))
    np.testing.assert_allclose(model.projection_[-3:], 0, atol=1e-10)
    alone = fh.ITQ(n_bits=8, random_state=0).fit(x)
    np.testing.assert_allclose(model.explained_variance_, alone.explained_variance_)


@pytest.mark.parametrize("n_bits", [8, 24])
def test_itq_with_fewer_samples_than_bits(n_bits):
    x = make_features(n=6)
    codes = fh.ITQ(n_bits=n_bits, random_state=0).fit_transform(x)
    assert len(np.unique(codes, axis=0)) > 1


def test_itq_spreads_its_components_over_more_bits_than_features():
    x = make_features()
    model = fh.ITQ(n_bits=70, random_state=0).fit(x)
    assert model.explained_variance_.shape == (24,)
    np.testing.assert_allclose(model.projection_ @ model.projection_.T, np.eye(24), atol=1e-10)
    centred = x - model.mean_
    expected = np.argsort(-centred @ centred.T, axis=1)[:, :10]

    def share_found(codes):
        ids = fh.topk(codes, codes, 10)[1]
        return np.mean([len(np.intersect1d(a, b)) for a, b in zip(ids, expected, strict=True)]) / 10

    short = fh.ITQ(n_bits=24, random_state=0).fit_transform(x)
    assert share_found(model.transform(x)) > share_found(short) + 0.05


def test_large_single_precision_features_do_not_overflow():
    x = (make_features() * 1e25).astype(np.float32)
    model = fh.ITQ(n_bits=8, random_state=0).fit(x)
    assert np.isfinite(model.explained_variance_).all()
    assert 0.2 < fh.unpack(model.transform(x), 8).mean() < 0.8


def test_one_sample():
    x = make_features(n=1)
    codes = fh.RandomHyperplanes(n_bits=9, random_state=0).fit_transform(x)
    np.testing.assert_array_equal(codes, [[0xFF, 0x80]])
    with pytest.raises(ValueError, match="minimum of 2 is required by ITQ"):
        fh.ITQ(n_bits=9).fit(x)


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (fh.ITQ(n_bits=4), np.full((5, 6), 0.1), ValueError, "same row for all samples"),
        (fh.ITQ(n_bits=0), make_features(), ValueError, "n_bits must be at least 1"),
        (fh.ITQ(n_bits=4), {"text": make_features()}, TypeError, "X must be an array, got dict"),
        (fh.ITQ(n_bits=8, n_iterations=2.5), make_features(), TypeError, "n_iterations"),
        (fh.RandomHyperplanes(n_bits=8.0), make_features(), TypeError, "n_bits must be an integer"),
    ],
)
def test_what_it_refuses(model, x, error, message):
    with pytest.raises(error, match=message):
        model.fit(x)
    assert not [name for name in vars(model) if name.endswith("_")]


def test_a_refused_fit_leaves_the_model_as_it_was():
    model = fh.ITQ(n_bits=8, random_state=0).fit(make_features())
    before = model.transform(make_features())
    with pytest.raises(ValueError, match="same row"):
        model.fit(np.ones((10, 9)))
    np.testing.assert_array_equal(model.transform(make_features()), before)
