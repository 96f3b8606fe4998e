"""Canonical directions against the textbook's singular values, and for more than two modalities."""

import operator
from functools import reduce

import numpy as np
import pytest

from fasthash.models._canonical import (
    agreement,
    canonical_directions,
    choose_ridges,
    fold_covariances,
    fold_sums,
    join_folds,
    pair_covariances,
)


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


@pytest.mark.parametrize("cuts", [[200], [100, 101], [1, 3, 201, 202]])
def test_sums_of_consecutive_parts_are_those_of_the_whole(cuts):
    """Also if parts are added in groups, and if a part has fewer rows than there are folds."""
    x = make((6, 4))
    folds, n_rows = fold_sums([x], 3).covariances()
    parts = [fold_sums([some], 3) for some in zip(*(np.split(v, cuts) for v in x), strict=True)]
    for total in (reduce(operator.add, parts), parts[0] + reduce(operator.add, parts[1:])):
        found, counts = total.covariances()
        assert counts == n_rows
        for fold, other in zip(folds, found, strict=True):
            for row, own in zip(fold, other, strict=True):
                for one, two in zip(row, own, strict=True):
                    np.testing.assert_allclose(one, two, atol=1e-12)


def test_folds_are_every_third_row_and_join_to_the_whole():
    x = make((6, 4))
    blocks = [[values[a : a + 70] for values in x] for a in range(0, 400, 70)]
    folds, n_rows = fold_covariances(blocks, 3)
    assert n_rows == [134, 133, 133]
    for fold, covariances in enumerate(folds):
        few = [values[fold::3] for values in x]
        np.testing.assert_allclose(covariances[1][0], few[1].T @ few[0] / n_rows[fold])
    for row, whole in zip(join_folds(folds, n_rows), pair_covariances([x]), strict=True):
        for one, other in zip(row, whole, strict=True):
            np.testing.assert_allclose(one, other)


def test_agreement_is_that_of_the_rows():
    """The formula from covariances, against products of all samples with all samples."""
    x = make((6, 4, 5))
    directions, correlations = canonical_directions(pair_covariances([x]), [0.1] * 3, 3)
    factors = [correlations, correlations**2]
    found = agreement(pair_covariances([x]), directions, factors)
    for one, by in zip(found, factors, strict=True):
        assert one == pytest.approx(agreement_of_rows(x, directions, by), rel=1e-9)


def test_folds_without_variance_take_no_part_in_the_choice():
    """Their agreement was NaN, which counted as the largest: the first ridge won."""
    rng = np.random.default_rng(0)
    x = make((6, 4), n=90)
    x[0] = x[0] + 3 * rng.standard_normal(x[0].shape)
    folds, n_pairs = fold_covariances([x], 3)
    expected = choose_ridges(folds, n_pairs, 4)
    flat = [[np.zeros_like(block) for block in row] for row in folds[0]]
    directions, _ = canonical_directions(folds[0], [0.1, 0.1], 4)
    assert agreement(flat, directions, [np.ones(4)]).tolist() == [0]
    # The fold of equal rows changes the others' weights, and not which of them decide.
    ridges, power = choose_ridges([*folds, flat], [*n_pairs, 30], 4)
    assert ridges[0] / ridges[1] == pytest.approx(expected[0][0] / expected[0][1])
    assert ridges[0] > 0.003 * np.trace(folds[0][0][0]) / 6 and power > 0
    # All that varies is in one fold.
    ridges, power = choose_ridges([folds[0], flat, flat], [30, 30, 30], 4)
    assert np.isfinite(ridges).all() and min(ridges) > 0


def agreement_of_rows(x, directions, factors):
    scores = [values @ w * factors for values, w in zip(x, directions, strict=True)]
    found = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        across = scores[i] @ scores[j].T
        along = np.sum(scores[i] * scores[j], axis=0) / (
            np.linalg.norm(scores[i], axis=0) * np.linalg.norm(scores[j], axis=0)
        )
        alike = sum(
            np.sum(across * (x[m] @ x[m].T)) / np.linalg.norm(x[m] @ x[m].T) for m in (i, j)
        )
        found.append(np.sqrt(np.sum(along**2)) * alike / np.linalg.norm(across))
    return np.mean(found)


@pytest.mark.parametrize("d", [(60, 40), (60, 40, 50)])
def test_chosen_ridges_find_what_is_shared(d):
    """Fewer pairs than features: without a ridge, directions fit noise."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((240, 3))
    x = [common @ rng.standard_normal((3, k)) + 2 * rng.standard_normal((240, k)) for k in d]
    train, test = [v[:40] - v[:40].mean(axis=0) for v in x], [v[40:] for v in x]
    folds, n_pairs = fold_covariances([train], 3)
    total = pair_covariances([train])

    def held_out(ridges):
        directions, _ = canonical_directions(total, ridges, 3)
        a, b = (values @ w for values, w in zip(test[:2], directions[:2], strict=True))
        return np.mean([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(3)])

    chosen, power = choose_ridges(folds, n_pairs, 3)
    assert len(chosen) == len(d) and min(chosen) > 0 and power >= 1
    assert held_out(chosen) > held_out([1e-3 * ridge for ridge in chosen]) + 0.04


def test_too_few_pairs_get_a_fixed_ridge():
    x = [values[:5] for values in make((6, 4))]
    folds, n_pairs = fold_covariances([x], 3)
    for ridge, values in zip(choose_ridges(folds, n_pairs, 2)[0], x, strict=True):
        covariance = values.T @ values / 5
        typical = np.sum(covariance**2) / np.trace(covariance)
        assert ridge == pytest.approx(0.3 * typical)
