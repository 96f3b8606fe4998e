"""The second step of AMSH: sweeps over blocks of mapped features, and what they minimise."""

import itertools

import numpy as np
import pytest

import fasthash as fh
from fasthash._core.features import FeatureMap, MappedRows
from fasthash._core.pieces import smaller_pieces
from fasthash._core.rows import Rows
from fasthash._core.workers import Workers
from fasthash.models.amsh import _hash_functions as hash_functions
from fasthash.models.amsh._hash_functions import (
    SweepRule,
    add_rows,
    first_sweep,
    next_sweep,
)
from reference import discrete as reference


def make(n=200, d=30, r=8, seed=0, dtype=np.float64):
    """Features, and bits that depend on them and on noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(dtype)
    margins = x @ rng.standard_normal((d, r)) / 4 + rng.standard_normal((n, r))
    return x, np.where(margins >= 0, 1.0, -1.0)


def mapped(x, kept_bytes=0):
    return MappedRows(Rows(x, x.dtype), FeatureMap(np.zeros(x.shape[1])), kept_bytes)


def loss(x, b, f, ridge):
    return np.sum(np.maximum(0, 1 - b * (x @ f)) ** 2) + ridge * np.sum(f**2)


def learn(x, bits, rule, start=None, n_threads=1, kept_bytes=0):
    """All sweeps, for the bits of one length or several; returns the states after each."""
    bits = bits if isinstance(bits, list) else [bits]
    rows, codes = mapped(x, kept_bytes), [fh.pack(b) for b in bits]
    starts = [b.shape[1] for b in bits] if start is None else [start]
    with Workers(n_threads) as workers:
        states = [first_sweep(rows, codes, starts, None, rule, workers)]
        while not states[-1].finished:
            states.append(next_sweep(rows, codes, states[-1], rule, workers))
    return states


@pytest.mark.parametrize("n_sweeps", [1, 2, 7])
def test_without_tolerance_the_published_sweeps(n_sweeps):
    x, b = make()
    states = learn(x, b, SweepRule(0.01, n_sweeps, 0.0))
    assert len(states) == n_sweeps == states[-1].n_sweeps
    expected = reference.hash_function(x, b, 0.01, n_sweeps)
    np.testing.assert_allclose(states[-1].regressions[0].projection, expected, atol=1e-9)


def test_with_a_tolerance_fewer_sweeps_and_no_higher_loss():
    for seed in range(5):
        x, b = make(n=2000, seed=seed)
        states = learn(x, b, SweepRule(0.01, 15, 1e-4))
        assert len(states) < 10
        published = reference.hash_function(x, b, 0.01, 15)
        ours = loss(x, b, states[-1].regressions[0].projection, 0.01)
        assert ours <= (1 + 1e-4) * loss(x, b, published, 0.01)


def test_the_loss_is_that_of_the_start_and_never_rises_in_the_end():
    x, b = make()
    states = learn(x, b, SweepRule(0.01, 40, 1e-12))
    for before, after in itertools.pairwise(states):
        begun = after.regressions[0].start
        assert after.regressions[0].loss == pytest.approx(loss(x, b, begun, 0.01), rel=1e-9)
        assert after.regressions[0].loss <= before.regressions[0].loss + 1e-9 or (
            before.regressions[0].start is None
        )
    f = states[-1].regressions[0].projection
    # At the minimum of a convex function the gradient is zero.
    gradient = x.T @ (x @ f - b * np.maximum(1, b * (x @ f))) + 0.01 * f
    np.testing.assert_allclose(gradient, 0, atol=1e-3)


def test_a_step_too_far_is_taken_back(monkeypatch):
    x, b = make()
    honest = hash_functions._secant_step
    monkeypatch.setattr(
        hash_functions, "_secant_step", lambda *args: honest(*args) + 1.0 * (honest(*args) > 0)
    )
    states = learn(x, b, SweepRule(0.01, 12, 1e-9))
    begun = [s.regressions[0].loss for s in states if s.regressions[0].start is not None]
    assert (np.diff(begun) <= 1e-9).all()


def test_a_start_near_the_end_saves_sweeps():
    x, b = make(n=3000)
    rule = SweepRule(0.01, 15, 1e-3)
    few = learn(x[:1000], b[:1000], rule)[-1].regressions[0].projection
    cold, warm = learn(x, b, rule), learn(x, b, rule, start=few)
    assert len(warm) < len(cold)
    ends = [loss(x, b, s[-1].regressions[0].projection, 0.01) for s in (cold, warm)]
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)


@pytest.mark.parametrize("kept_bytes", [0, 50_000, 1_000_000])
def test_blocks_and_threads_leave_no_seam(kept_bytes):
    x, b = make(n=1000)
    rule = SweepRule(0.01, 6, 1e-6)
    whole = learn(x, b, rule)[-1].regressions[0].projection
    with smaller_pieces(30 * 7):
        one, two = (
            learn(x, b, rule, None, n_threads, kept_bytes)[-1].regressions[0].projection
            for n_threads in (1, 2)
        )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, whole, atol=1e-9)


def test_lengths_side_by_side_are_as_each_alone():
    x, b = make(r=30)
    rule = SweepRule(0.01, 15, 1e-3)
    bits = [b[:, :5], b[:, 5:14], b[:, 14:]]
    together = learn(x, bits, rule)[-1].regressions
    for regression, alone in zip(together, bits, strict=True):
        (expected,) = learn(x, alone, rule)[-1].regressions
        assert regression.n_sweeps == expected.n_sweeps
        np.testing.assert_allclose(regression.projection, expected.projection, atol=1e-9)


def test_single_precision_features_are_accumulated_in_double():
    rng = np.random.default_rng(0)
    x = (1000 + rng.standard_normal((4000, 6))).astype(np.float32)
    with Workers(1) as workers:
        gram = hash_functions.feature_gram(mapped(x), workers)
    assert gram.dtype == np.float64
    expected = x.astype(np.float64).T @ x
    np.testing.assert_allclose(gram, expected, rtol=1e-6)


def test_rows_that_join_count_as_the_others_do():
    x, b = make(n=900)
    rule = SweepRule(0.01, 15, 1e-6)
    old = learn(x[:800], b[:800], rule)[-1]
    with Workers(1) as workers:
        new, _ = add_rows(
            old.regressions[0], old.gram, mapped(x[800:]), fh.pack(b[800:]), rule, workers
        )
    f, before = new.projection, old.regressions[0].projection
    assert loss(x, b, f, 0.01) < loss(x, b, before, 0.01)
    fresh = learn(x, b, rule)[-1].regressions[0].projection
    assert loss(x, b, f, 0.01) < 1.01 * loss(x, b, fresh, 0.01)
    # With margins that all stay, joining is exactly the regression on all rows.
    plain = SweepRule(0.01, 1, 0.0)
    once = learn(x[:800], b[:800], plain)[-1]
    with Workers(1) as workers:
        _, gram = add_rows(
            once.regressions[0], once.gram, mapped(x[800:]), fh.pack(b[800:]), plain, workers
        )
    np.testing.assert_allclose(gram, x.T @ x + 0.01 * np.eye(30), atol=1e-9)
