"""The first step of AMSH in its parts: orthogonal latents, sweeps over blocks, new samples."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash._core.workers import Workers
from fasthash.models.amsh._code_parts import CodePart, LabelRows
from fasthash.models.amsh._code_rules import code_rules
from fasthash.models.amsh._codes import (
    Weights,
    orthogonalise,
    start_codes,
    sweep,
)
from reference import discrete as reference

WEIGHTS = Weights(0.01, 0.02, 0.7)


def label_rows(labels):
    return LabelRows.of(sparse.csr_array(labels.astype(float)))


def as_one_part(labels, v):
    """All samples as one part."""
    return [CodePart(0, label_rows(labels), v)]


def random_labels(n, n_classes=5, seed=0):
    return (np.random.default_rng(seed).random((n, n_classes)) < 0.3).astype(float)


@pytest.mark.parametrize("rank", [0, 1, 4, 8])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_latents_are_orthogonal_and_centred_whatever_the_rank(rank, scale):
    """The completion is orthogonal to the rest and to the ones vector, the threshold relative."""
    rng = np.random.RandomState(0)
    n, r = 50, 8
    z = scale * (rng.standard_normal((n, rank)) @ rng.standard_normal((rank, r)) + 3)
    v, again = z.copy(), z.copy()
    with Workers(1) as workers:
        orthogonalise([CodePart(0, None, v)], np.random.RandomState(1), workers)
        orthogonalise([CodePart(0, None, again)], np.random.RandomState(1), workers)
    np.testing.assert_allclose(v.T @ v / n, np.eye(r), atol=1e-8)
    np.testing.assert_allclose(v.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_array_equal(v, again)
    best = np.sqrt(n) * np.linalg.svd(z - z.mean(axis=0), compute_uv=False).sum()
    assert np.sum(v * z) == pytest.approx(best, rel=1e-6, abs=1e-6 * scale)


def test_a_sweep_completes_latents_that_labels_do_not_determine():
    """Without quantisation Z has no more directions than there are classes."""
    labels, rng = random_labels(60, 3), np.random.RandomState(0)
    with Workers(1) as workers:
        modalities = [
            start_codes(as_one_part(labels, rng.standard_normal((60, 8))), workers)
            for _ in range(2)
        ]
        objective = [
            sweep(modalities, Weights(0.1, 0.1, 0.0), np.random.RandomState(1), workers)
            for _ in range(5)
        ]
    for m in modalities:
        np.testing.assert_allclose(m.v.T @ m.v / 60, np.eye(8), atol=1e-8)
        np.testing.assert_allclose(m.v.mean(axis=0), 0, atol=1e-8)
        np.testing.assert_allclose(m.vt, m.v.T @ reference.label_target(labels, m.v @ m.p))
    assert (np.diff(objective) <= 1e-9 * objective[0]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_blocks_and_threads_leave_no_seam(dtype):
    sizes, rng = (300, 217), np.random.default_rng(0)
    labels = [random_labels(n, seed=n) for n in sizes]
    starts = [rng.standard_normal((n, 12)).astype(dtype) for n in sizes]

    def run(n_threads):
        with Workers(n_threads) as workers:
            modalities = [
                start_codes(as_one_part(y, v.copy()), workers)
                for y, v in zip(labels, starts, strict=True)
            ]
            for _ in range(4):
                objective = sweep(modalities, WEIGHTS, np.random.RandomState(0), workers)
        return modalities, objective

    whole, objective = run(1)
    with smaller_pieces(12 * 7):
        (one, one_objective), (two, two_objective) = run(1), run(2)
    assert one_objective == two_objective
    # Single precision rounds a latent to 1e-7; bits at the border may differ by it.
    assert one_objective == pytest.approx(objective, rel=1e-10 if dtype == np.float64 else 1e-4)
    for a, b, c in zip(one, two, whole, strict=True):
        assert a.v.dtype == dtype
        np.testing.assert_array_equal(a.v, b.v)
        np.testing.assert_array_equal(a.packed, b.packed)
        if dtype == np.float64:
            np.testing.assert_allclose(a.v, c.v, atol=1e-9)
            np.testing.assert_array_equal(a.packed, c.packed)


def test_single_precision_is_enough_where_votes_outweigh_a_sample_a_thousandfold():
    """The sums of labels' votes are thousands, the sample's own code is one."""
    labels = [random_labels(4000, seed=seed) for seed in (0, 1)]
    starts = np.random.default_rng(0).standard_normal((2, 4000, 16))
    objectives = {}
    for dtype in (np.float32, np.float64):
        with Workers(2) as workers:
            modalities = [
                start_codes(as_one_part(y, v.astype(dtype)), workers)
                for y, v in zip(labels, starts, strict=True)
            ]
            weights = Weights(0.1, 0.1, 1.0)
            objectives[dtype] = [
                sweep(modalities, weights, np.random.RandomState(0), workers) for _ in range(6)
            ]
        for m in modalities:
            np.testing.assert_allclose(m.v.T @ m.v / 4000, np.eye(16), atol=1e-5)
    np.testing.assert_allclose(objectives[np.float32], objectives[np.float64], rtol=1e-5)


def test_counts_of_changed_bits():
    labels, rng = [random_labels(n) for n in (80, 70)], np.random.RandomState(0)
    with Workers(1) as workers:
        modalities = [
            start_codes(as_one_part(y, rng.standard_normal((len(y), 9))), workers) for y in labels
        ]
        for _ in range(3):
            before = [fh.unpack(m.packed.copy(), 9) for m in modalities]
            sweep(modalities, WEIGHTS, rng, workers)
            for m, b in zip(modalities, before, strict=True):
                assert m.n_changed == np.sum(fh.unpack(m.packed, 9) != b)


def test_a_new_sample_gets_the_code_of_its_like():
    """Old samples, coded again as if new, mostly get the codes they have."""
    y, rng = np.random.default_rng(0).integers(0, 6, (2, 400)), np.random.RandomState(0)
    labels = [np.eye(6)[classes] for classes in y]
    with Workers(1) as workers:
        modalities = [
            start_codes(as_one_part(one_hot, rng.standard_normal((400, 16))), workers)
            for one_hot in labels
        ]
        for _ in range(15):
            sweep(modalities, Weights(0.05, 0.05, 1.0), rng, workers)
    rules = code_rules(modalities, Weights(0.05, 0.05, 1.0))
    for m, rule, one_hot in zip(modalities, rules, labels, strict=True):
        again = rule.codes(label_rows(one_hot), 15)
        same = fh.unpack(again, 16) == fh.unpack(m.packed, 16)
        assert same.mean() > 0.95


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_with_the_same_labels(eta):
    """Votes that are the same for all samples say nothing; their rounding is no direction."""
    labels, rng = np.tile([1.0, 1.0, 0.0], (60, 1)), np.random.RandomState(0)
    with Workers(1) as workers:
        modalities = [
            start_codes(as_one_part(labels, rng.standard_normal((60, 8))), workers)
            for _ in range(2)
        ]
        objective = [
            sweep(modalities, Weights(1e3, 1e3, eta), np.random.RandomState(1), workers)
            for _ in range(5)
        ]
    assert np.isfinite(objective).all()
    for m in modalities:
        np.testing.assert_allclose(m.v.T @ m.v / 60, np.eye(8), atol=1e-3)
        np.testing.assert_allclose(m.v.mean(axis=0), 0, atol=1e-6)


def test_parts_are_strips_of_the_samples():
    """Sums over parts are those over all samples, but for rounding; threads change no bit."""
    sizes, rng = (300, 217), np.random.default_rng(0)
    labels = [random_labels(n, seed=n) for n in sizes]
    starts = [rng.standard_normal((n, 12)) for n in sizes]

    def run(n_threads, cuts):
        with Workers(n_threads) as workers:
            modalities = []
            for y, v in zip(labels, starts, strict=True):
                bounds = [0, *cuts, len(y)]
                parts = [
                    CodePart(a, label_rows(y[a:b]), v[a:b].copy()) for a, b in pairwise(bounds)
                ]
                orthogonalise(parts, np.random.RandomState(0), workers)
                modalities.append(start_codes(parts, workers))
            objective = [
                sweep(modalities, WEIGHTS, np.random.RandomState(0), workers) for _ in range(4)
            ]
        return [m.packed for m in modalities], objective

    (one_codes, one), (codes, objective) = run(1, []), run(1, [100, 130])
    np.testing.assert_allclose(objective, one, rtol=1e-9)
    again_codes, again = run(2, [100, 130])
    assert again == objective
    for a, b, c in zip(codes, again_codes, one_codes, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_latents_of_parts_are_completed():
    """They are orthogonal and centred, also in directions that labels leave open."""
    labels, rng = random_labels(90, 3), np.random.RandomState(0)
    v = rng.standard_normal((90, 8))
    with Workers(1) as workers:
        modalities = []
        for bounds in ([0, 40, 90], [0, 30, 31, 90]):
            parts = [
                CodePart(a, label_rows(labels[a:b]), v[a:b].copy()) for a, b in pairwise(bounds)
            ]
            modalities.append(start_codes(parts, workers))
        for _ in range(3):
            sweep(modalities, Weights(0.1, 0.1, 0.0), np.random.RandomState(1), workers)
    for m in modalities:
        np.testing.assert_allclose(m.v.T @ m.v / 90, np.eye(8), atol=1e-8)
        np.testing.assert_allclose(m.v.mean(axis=0), 0, atol=1e-8)
