"""Relations of samples to anchors: three kinds, one meaning."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from fasthash._core.rows import Rows
from fasthash.models.rreh._relations import DenseRelations, NoRelations, SparseRelations


def make(kind):
    """Relations of 20 samples to 6 anchors, and the matrix they stand for."""
    rng = np.random.default_rng(0)
    if kind == "sparse":
        matrix = rng.random((20, 6)) * (rng.random((20, 6)) < 0.5)
        return SparseRelations(csr_array(matrix)), matrix
    if kind == "none":
        return NoRelations(6), np.zeros((20, 6))
    x, anchors = rng.standard_normal((20, 4)), rng.standard_normal((6, 4))
    gram = anchors @ anchors.T
    ridge = 0.3 * np.trace(gram) / 6 * np.eye(6)
    return DenseRelations(Rows(x, x.dtype), anchors, 0.3), x @ anchors.T @ np.linalg.inv(
        gram + ridge
    )


@pytest.mark.parametrize("kind", ["sparse", "dense", "none"])
def test_products_are_those_of_the_matrix(kind):
    relations, matrix = make(kind)
    rng = np.random.default_rng(1)
    at_anchors, values, weights = rng.random((6, 3)), rng.random((9, 3)), rng.random(9)
    rows = slice(4, 13)
    np.testing.assert_allclose(relations.times(rows, at_anchors), matrix[rows] @ at_anchors)
    np.testing.assert_allclose(relations.transposed_times(rows, values), matrix[rows].T @ values)
    np.testing.assert_allclose(
        relations.gram(rows, weights), matrix[rows].T @ (weights[:, None] * matrix[rows])
    )
