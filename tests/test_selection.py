"""Choosing models by held-out pairs: the better one wins, and nothing held out is fitted to."""

import typing

import numpy as np
import pytest

import fasthash as fh
from fasthash.models import CrossModalHasher, select_by_pairs


def make(n=240, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, 4))
    return {
        "image": shared @ rng.standard_normal((4, 30)) + rng.standard_normal((n, 30)),
        "text": shared @ rng.standard_normal((4, 20)) + rng.standard_normal((n, 20)),
    }


class Recorder(CrossModalHasher):
    """Remembers what it was fitted to; its codes are noise."""

    seen: typing.ClassVar[list] = []

    def fit(self, features, pairs=None, *, n_threads=None):
        self.seen.append((features, pairs))
        return self

    def encode(self, X, modality):
        return np.random.default_rng(len(X)).integers(0, 256, (len(X), 2), dtype=np.uint8)


def test_the_better_regularised_model_wins():
    models = [fh.CCAITQ(16, ridge=ridge, random_state=0) for ridge in (1e-6, 1.0)]
    found = select_by_pairs([*models, Recorder()], make(), n_splits=2, random_state=0)
    assert found.best == 1 and found.scores.shape == (3, 2)
    means = found.scores.mean(axis=1)
    assert means[1] > means[0] > means[2]
    assert not hasattr(models[0], "projections_")


def test_held_out_rows_are_not_fitted_to():
    x = make(100)
    rng = np.random.default_rng(1)
    pairs = np.stack([rng.permutation(100)[:40], rng.permutation(100)[:40]], axis=1)
    Recorder.seen = []
    select_by_pairs([Recorder()], x, pairs, n_splits=2, share=0.25, random_state=0)
    held = []
    for features, kept in Recorder.seen:
        assert kept.shape == (30, 2)
        partners = {tuple(pair) for pair in pairs}
        for i, j in kept:
            row = np.flatnonzero((x["image"] == features["image"][i]).all(axis=1))[0]
            column = np.flatnonzero((x["text"] == features["text"][j]).all(axis=1))[0]
            assert (row, column) in partners
        assert features["image"].shape == (90, 30) and features["text"].shape == (90, 20)
        held.append(kept)
    assert not np.array_equal(held[0], held[1])


def test_what_it_refuses():
    x = make(30)
    with pytest.raises(ValueError, match="models is empty"):
        select_by_pairs([], x)
    with pytest.raises(ValueError, match="share must be less than 1"):
        select_by_pairs([fh.CCAITQ(8)], x, share=1.0)
    with pytest.raises(ValueError, match="pairs must be at least 3"):
        select_by_pairs([fh.CCAITQ(8)], x, [[0, 0], [1, 1]])
