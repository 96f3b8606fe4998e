"""The rotation of iterative quantisation: orthogonal, and never farther from bits step by step."""

import numpy as np
import pytest

from fasthash.models._rotation import quantising_rotation


def quantisation_loss(scores, rotation):
    turned = scores @ rotation
    return np.mean((np.where(turned >= 0, 1, -1) - turned) ** 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_bits", [1, 2, 9])
def test_every_step_comes_nearer(n_bits, dtype):
    scores = np.random.default_rng(n_bits).standard_normal((200, n_bits)).astype(dtype)
    rotations = [
        quantising_rotation(scores, steps, np.random.RandomState(0)) for steps in range(1, 12)
    ]
    for rotation in rotations:
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(n_bits), atol=1e-5)
    assert (np.diff([quantisation_loss(scores, r) for r in rotations]) <= 1e-6).all()


def test_the_scale_of_the_scores_does_not_matter():
    scores = np.random.default_rng(0).standard_normal((100, 5))
    one, other = (quantising_rotation(c * scores, 20, np.random.RandomState(3)) for c in (1, 64))
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_more_bits_than_scores():
    scores = np.random.default_rng(0).standard_normal((100, 3))
    rotations = [quantising_rotation(scores, k, np.random.RandomState(0), 7) for k in range(1, 9)]
    for rotation in rotations:
        assert rotation.shape == (3, 7)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert (np.diff([quantisation_loss(scores, r) for r in rotations]) <= 1e-9).all()
