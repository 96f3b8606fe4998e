"""What the tests of CLSR share: clips with captions, small models of them, and their scores."""

import numpy as np

import fasthash as fh


def make_clips(n=240, n_captions=3, seed=0, noise=0.3):
    """Clips and their captions: noisy views of the same few hidden directions."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n, 6))
    mix = np.random.default_rng(99)
    captions = np.repeat(np.arange(n), n_captions)
    views = {}
    for name, rows, d in (("audio", np.arange(n), 20), ("text", captions, 15)):
        x = hidden[rows] @ mix.standard_normal((6, d)) + 4
        views[name] = x + noise * rng.standard_normal(x.shape)
    order = rng.permutation(len(captions))
    views["text"] = views["text"][order]
    return views, np.column_stack([captions[order], np.arange(len(order))])


SMALL = {"n_bits": 32, "n_latent": 32, "hidden": (48,), "n_epochs": 6, "batch_size": 60}
SMALL |= {"n_targets": 6, "dropout": 0.1, "learning_rate": 1e-2, "random_state": 0, "device": "cpu"}


def fit(views, pairs, *, parameters=(), **options):
    return fh.CLSR(**{**SMALL, **dict(parameters)}).fit(views, pairs, n_threads=1, **options)


def recall_sum(model, views, pairs):
    latents = {name: model.transform(x, name) for name, x in views.items()}
    scores = fh.retrieval_scores(latents, pairs)
    return 100 * sum(sum(s.recall.values()) for s in scores.values())


def assert_same_model(a, b):
    for name in a.modalities_:
        np.testing.assert_array_equal(a.codes_[name], b.codes_[name])
        ours, theirs = (model.feature_maps_[name] for model in (a, b))
        assert_same_layers(ours.head, theirs.head)
        for part, layers in (("reconstruction", "decoder"), ("variates", "head")):
            parts = getattr(ours, part), getattr(theirs, part)
            assert (parts[0] is None) == (parts[1] is None)
            if parts[0] is not None:
                assert parts[0].weight == parts[1].weight
                assert_same_layers(*(getattr(one, layers) for one in parts))
    assert a.history_ == b.history_ and a.best_epoch_ == b.best_epoch_


def assert_same_layers(a, b):
    for ours, theirs in zip(a.layers, b.layers, strict=True):
        for x, y in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(x, y)


NO_PARTS = {"consistency": 0.0, "semantic": 0.0, "reconstruction": 0.0}
