"""The sweeps of RREH: no block update raises the objective, and each one finds the minimum."""

import dataclasses

import numpy as np
import pytest

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash._core.rows import Rows
from fasthash._core.validation import check_pairs
from fasthash._core.workers import Workers
from fasthash.models.rreh._fit import RrehFit
from fasthash.models.rreh._start import start_views

BLOCKS = [
    "update_bases",
    "update_hash_functions",
    "update_unpaired_latents",
    "update_paired_latents",
    "update_rotation",
    "update_codes",
]


def make(sizes=(60, 50), n_pairs=25, d=(7, 5), seed=0, dtype=np.float64):
    """Modalities with a common part; pairs in an order that is none of the rows'."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((max(sizes), 3))
    x = {
        f"modality {i}": (
            common[:n] @ rng.standard_normal((3, columns)) + 0.3 * rng.standard_normal((n, columns))
        ).astype(dtype)
        for i, (n, columns) in enumerate(zip(sizes, d, strict=True))
    }
    pairs = np.stack([rng.permutation(min(sizes))[:n_pairs]] * len(sizes), axis=1)
    return x, pairs


def start(x, pairs, workers, **parameters):
    parameters = {"n_bits": 9, "n_components": 4, "n_anchors": 12, "k": 4, **parameters}
    settings = fh.RREH(**parameters)._settings(len(pairs))
    rng = np.random.RandomState(0)
    rows = {name: Rows(values, values.dtype) for name, values in x.items()}
    pairs = check_pairs(pairs, {name: len(values) for name, values in x.items()})
    views, anchors, _ = start_views(rows, pairs, settings, rng, workers)
    return RrehFit(views, anchors, settings, rng, workers), settings


def dense_objective(fit, settings):
    """J of the module's first lines, row by row."""
    n_pairs, z = fit.views[0].n_pairs, fit.latents.astype(np.float64)
    b, r = fit.signs.astype(np.float64), fit.rotation
    total = settings.theta * np.sum((b[:n_pairs] - z[:n_pairs] @ r) ** 2)
    for i, view in enumerate(fit.views):
        rows = slice(0, len(view.rows))
        x, latent_rows = view.read(rows).astype(np.float64), view.latent_rows
        phi = view.feature_map.transform(view.rows.read(rows)) @ view.basis
        alone = latent_rows >= n_pairs
        w = np.where(alone, view.weight, 1.0)
        total += settings.alpha * w @ np.sum((x - z[latent_rows] @ fit.bases[i]) ** 2, axis=1)
        total += (
            settings.rho * w @ np.sum((b[latent_rows] - phi @ fit.hash_weights[i]) ** 2, axis=1)
        )
        related = view.relations.times(rows, z[fit.anchors])
        loose = np.sum((z[latent_rows] - related) ** 2, axis=1)
        missed = np.sum((b[latent_rows] - z[latent_rows] @ r) ** 2, axis=1)
        total += (w * alone) @ (settings.mu * loose + settings.theta * missed)
        total += settings.alpha * settings.nu * n_pairs * np.sum(fit.bases[i] ** 2)
        total += settings.rho * fit.ridges[i] * np.sum(fit.hash_weights[i] ** 2)
    return total


CASES = {
    "two modalities": ({}, {}),
    "three modalities": ({"sizes": (40, 60, 50), "d": (6, 5, 4)}, {}),
    "linear": ({}, {"kernel": "linear"}),
    "radial": ({}, {"kernel": "rbf"}),
    "a given ridge": ({}, {"shrinkage": 0.5}),
    "dense relations": ({}, {"reconstruction": "dense"}),
    "no relation term": ({}, {"mu": 0.0}),
    "full trust": ({}, {"reliability": 1.0, "mu": 0.1, "theta": 3.0}),
    "no trust": ({}, {"reliability": 0.0}),
    "one row alone": ({"sizes": (26, 25)}, {}),
    "fewer pairs than anchors": ({"n_pairs": 6}, {}),
    "more components than pairs": ({"n_pairs": 3}, {"n_components": 8}),
    "one bit": ({}, {"n_bits": 1, "n_components": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_no_update_raises_the_objective(case):
    data, parameters = CASES[case]
    x, pairs = make(**data)
    with Workers(1) as workers:
        fit, settings = start(x, pairs, workers, **parameters)
        fit.update_bases()
        fit.update_hash_functions()
        before = dense_objective(fit, settings)
        for _ in range(4):
            for block in BLOCKS:
                getattr(fit, block)()
                after = dense_objective(fit, settings)
                assert after <= before + 1e-9 * abs(before), block
                before = after
            assert fit.objective() == pytest.approx(after, rel=1e-9)


@pytest.mark.parametrize(
    ("n_pairs", "given", "n_bits", "expected"),
    [
        (2, None, 32, 1),
        (20, None, 32, 12),
        (216, None, 32, 18),
        (216, None, 16, 16),
        (400, None, 32, 24),
        (216, 26, 32, 26),
    ],
)
def test_few_pairs_have_few_dimensions(n_pairs, given, n_bits, expected):
    x, pairs = make((400, 400), n_pairs)
    with Workers(1) as workers:
        settings = {"n_components": given, "n_bits": n_bits, "n_anchors": 30, "kernel": "rbf"}
        fit, _ = start(x, pairs, workers, **settings)
    assert fit.latents.shape[1] == expected


@pytest.mark.parametrize(
    ("n_pairs", "given", "expected"),
    [
        (2, None, 300),
        (299, None, 300),
        (300, None, 300),
        (450, None, 450),
        (601, None, 600),
        (450, 300, 300),
    ],
)
def test_anchors_follow_the_number_of_pairs(n_pairs, given, expected):
    assert fh.RREH(n_anchors=given)._settings(n_pairs).n_anchors == expected


@pytest.mark.parametrize(
    ("n_pairs", "given", "expected"), [(11, None, 0.1), (12, None, 0.02), (11, 0.3, 0.3)]
)
def test_fewer_pairs_than_anchors_have_a_larger_ridge(n_pairs, given, expected):
    x, pairs = make(n_pairs=n_pairs)
    with Workers(1) as workers:
        fit, _ = start(x, pairs, workers, ridge=given)
    for view, ridge in zip(fit.views, fit.ridges, strict=True):
        phi = view.feature_map.transform(view.rows.read(slice(0, len(view.rows)))) @ view.basis
        w = np.where(view.latent_rows < n_pairs, 1.0, view.weight)
        assert ridge == pytest.approx(expected * (w @ phi**2).mean())


@pytest.mark.parametrize("block", BLOCKS[:4])
def test_an_update_finds_the_minimum_of_its_block(block):
    """The block is what the update leaves; any step from there raises the objective."""
    x, pairs = make()
    rng = np.random.default_rng(1)
    with Workers(1) as workers:
        fit, settings = start(x, pairs, workers)
        fit.sweep()
        for name in BLOCKS[: BLOCKS.index(block) + 1]:
            getattr(fit, name)()
        best = dense_objective(fit, settings)
        n_pairs = fit.views[0].n_pairs
        for _ in range(20):
            kept = fit.latents.copy()
            values = {
                "update_bases": fit.bases[0],
                "update_hash_functions": fit.hash_weights[0],
                "update_unpaired_latents": fit.latents[n_pairs:],
                "update_paired_latents": fit.latents[:n_pairs],
            }[block]
            step = 1e-3 * rng.standard_normal(values.shape)
            values += step
            assert dense_objective(fit, settings) > best
            values -= step
            fit.latents[:] = kept


def test_codes_are_the_best_bit_by_bit():
    x, pairs = make()
    with Workers(1) as workers:
        fit, settings = start(x, pairs, workers)
        fit.sweep()
        best = dense_objective(fit, settings)
        rng = np.random.default_rng(2)
        for row, bit in zip(rng.integers(0, 85, 30), rng.integers(0, 9, 30), strict=True):
            fit.signs[row, bit] *= -1
            assert dense_objective(fit, settings) >= best - 1e-9 * best
            fit.signs[row, bit] *= -1


def test_the_rotation_keeps_lengths():
    x, pairs = make()
    with Workers(1) as workers:
        fit, _ = start(x, pairs, workers)
        fit.sweep()
    np.testing.assert_allclose(fit.rotation @ fit.rotation.T, np.eye(4), atol=1e-12)


def test_pairs_share_latent_and_code():
    x, pairs = make()
    with Workers(1) as workers:
        fit, _ = start(x, pairs, workers)
        fit.sweep()
    for view, column in zip(fit.views, pairs.T, strict=True):
        np.testing.assert_array_equal(view.latent_rows[column], np.arange(25))
        assert len(np.unique(view.latent_rows)) == len(view.rows)
    a, b = fit.codes().values()
    np.testing.assert_array_equal(a[pairs[:, 0]], b[pairs[:, 1]])


def test_blocks_and_threads_change_nothing():
    """Several blocks a batch and several batches, against everything at once."""
    x, pairs = make(sizes=(900, 700), n_pairs=300)
    with Workers(1) as workers:
        whole, _ = start(x, pairs, workers)
        whole.sweep()
    results = []
    for n_threads in (1, 3):
        with smaller_pieces(12 * 13), Workers(n_threads) as workers:
            fit, _ = start(x, pairs, workers)
            fit.sweep()
            assert len(fit.views[0].blocks) > 60
        results.append(fit)
    np.testing.assert_array_equal(results[0].latents, results[1].latents)
    np.testing.assert_array_equal(results[0].signs, results[1].signs)
    np.testing.assert_allclose(results[0].latents, whole.latents, rtol=1e-6, atol=1e-9)
    assert np.mean(results[0].signs != whole.signs) < 1e-3


def test_float32_follows_float64():
    x, pairs = make(sizes=(300, 280), n_pairs=100)
    objectives = []
    for dtype in (np.float32, np.float64):
        few = {name: values.astype(dtype) for name, values in x.items()}
        with Workers(1) as workers:
            fit, _ = start(few, pairs, workers)
            objectives.append([fit.sweep() for _ in range(3)])
            assert fit.latents.dtype == dtype
    np.testing.assert_allclose(objectives[0], objectives[1], rtol=1e-3)


def test_settings_are_the_parameters():
    fields = {field.name for field in dataclasses.fields(fh.RREH()._settings(2))}
    assert fields == set(fh.RREH().get_params()) - {"preprocessing", "unpaired", "random_state"}
