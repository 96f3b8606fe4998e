"""Canonical directions against the textbook's singular values, and for more than two modalities."""

import numpy as np
import pytest

from fasthash.models._canonical import canonical_directions, pair_covariances


def make(d, n=400, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 3))
    x = [common @ rng.standard_normal((3, k)) + 0.5 * rng.standard_normal((n, k)) for k in d]
    return [values - values.mean(axis=0) for values in x]


def test_two_modalities_as_in_the_textbook():
    a, b = make((6, 4))
    directions, correlations = canonical_directions(pair_covariances([[a, b]]), [1e-12, 1e-12], 4)
    (qa, _), (qb, _) = np.linalg.qr(a), np.linalg.qr(b)
    np.testing.assert_allclose(correlations, np.linalg.svd(qa.T @ qb)[1], atol=1e-9)
    scores = [x @ w for x, w in zip((a, b), directions, strict=True)]
    for one in scores:
        np.testing.assert_allclose(one.T @ one / len(one), np.eye(4), atol=1e-9)
    cross = scores[0].T @ scores[1] / len(a)
    np.testing.assert_allclose(cross, np.diag(correlations), atol=1e-9)


def test_a_ridge_shrinks():
    x = make((6, 4))
    plain, shrunk = (canonical_directions(pair_covariances([x]), [r, r], 3)[1] for r in (1e-9, 1.0))
    assert (shrunk < plain).all() and (shrunk > 0).all()


def test_three_modalities_agree_on_what_they_share():
    x = make((6, 4, 5))
    directions, correlations = canonical_directions(pair_covariances([x]), [1e-6] * 3, 3)
    scores = [values @ w for values, w in zip(x, directions, strict=True)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        for one, other in zip(scores[i].T, scores[j].T, strict=True):
            assert np.corrcoef(one, other)[0, 1] > 0.6
    assert (np.diff(correlations) <= 0).all() and correlations[0] == pytest.approx(0.9, abs=0.1)


def test_covariances_of_blocks_are_those_of_the_whole():
    x = make((6, 4, 5))
    whole = pair_covariances([x])
    blocks = pair_covariances([[values[a : a + 70] for values in x] for a in range(0, 400, 70)])
    for m, (one, other) in enumerate(zip(whole, blocks, strict=True)):
        assert len(one) == m + 1
        for j in range(m + 1):
            np.testing.assert_allclose(one[j], x[m].T @ x[j] / 400)
            np.testing.assert_allclose(other[j], one[j])
