"""A fit as a whole: interrupted and resumed, for several lengths, on samples, and growing."""

import os
import pickle
import signal
import threading

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.models.amsh import _fit as amsh_fit


def make(sizes=(90, 70), widths=(12, 9), seed=0, dtype=np.float64):
    """Unpaired multi-label modalities with class-dependent features."""
    rng = np.random.default_rng(seed)
    prototypes = {
        name: np.random.default_rng(99).standard_normal((5, d))
        for name, d in zip(("image", "text"), widths, strict=True)
    }
    features, labels = {}, {}
    for (name, prototype), n in zip(prototypes.items(), sizes, strict=True):
        y = (rng.random((n, 5)) < 0.3).astype(int)
        y[np.arange(n), rng.integers(0, 5, n)] = 1
        noise = 0.3 * rng.standard_normal((n, prototype.shape[1]))
        features[name] = (y @ prototype + noise).astype(dtype)
        labels[name] = y
    return features, labels


def hasher(**parameters):
    return fh.AMSH(**{"n_bits": 12, "n_anchors": 20, "random_state": 0, **parameters})


def assert_same_model(a, b):
    for name in a.modalities_:
        np.testing.assert_array_equal(a.codes_[name], b.codes_[name])
        np.testing.assert_array_equal(a.projections_[name], b.projections_[name])
    np.testing.assert_array_equal(a.objective_, b.objective_)
    assert a.n_iter_ == b.n_iter_


@pytest.fixture
def small_blocks(monkeypatch):
    """Everything in several blocks, and features mapped again in every sweep."""
    monkeypatch.setattr(amsh_fit, "_SAMPLE_ROWS", 40)
    monkeypatch.setattr(amsh_fit, "_KEPT_BYTES", 0)
    with smaller_pieces(12 * 7):
        yield


def test_progress_is_reported():
    features, labels = make()
    seen = []
    model = hasher(n_sweeps=3, tol=0)
    model.fit(features, labels, callback=lambda *event: seen.append(event))
    assert seen == [
        ("features", 1, 2),
        ("features", 2, 2),
        ("codes", 1, 3),
        ("codes", 2, 3),
        ("codes", 3, 3),
        *((f"hash functions of image, {sweep}", 90, 90) for sweep in (1, 2, 3)),
        *((f"hash functions of text, {sweep}", 70, 70) for sweep in (1, 2, 3)),
    ]
    assert model.n_iter_ == {"codes": 3, "image": 3, "text": 3}


def test_stopping_early_and_saying_so():
    features, labels = make()
    model = hasher(n_sweeps=200).fit(features, labels)
    assert len(model.objective_) == model.n_iter_["codes"] < 200
    assert max(model.n_iter_["image"], model.n_iter_["text"]) < 15
    longer = hasher(n_sweeps=200, tol=1e-5).fit(features, labels)
    assert all(longer.n_iter_[stage] >= n for stage, n in model.n_iter_.items())


class StopError(Exception):
    pass


@pytest.mark.parametrize("init", ["random", "pca"])
@pytest.mark.parametrize("tol", [0, 1e-2])
def test_a_fit_interrupted_anywhere_ends_as_if_it_had_not_been(small_blocks, tol, init):
    # Few blocks, but more rows than the sample that hash functions start from.
    features, labels = make(sizes=(45, 42))
    events = []
    parameters = {"n_sweeps": 4, "tol": tol, "init": init}
    whole = hasher(**parameters).fit(features, labels, callback=lambda *event: events.append(event))
    for stop in range(0, len(events), 3):
        calls = []

        def callback(*event, stop=stop, calls=calls):
            calls.append(event)
            if len(calls) == stop + 1:
                raise StopError

        model = hasher(**parameters)
        with pytest.raises(StopError):
            model.fit(features, labels, callback=callback)
        with pytest.raises(NotFittedError):
            model.encode(features["image"], "image")
        # Models are pickled with what they have.
        model = pickle.loads(pickle.dumps(model))
        assert_same_model(model.fit(features, labels, resume=True), whole)


def test_latents_completed_at_random_are_so_again_after_an_interrupt():
    """Without quantisation every sweep draws directions: a resumed one draws what it would have."""
    features, labels = make()
    parameters = {"n_sweeps": 4, "tol": 0, "eta": 0.0}
    whole = hasher(**parameters).fit(features, labels)

    def stop_after_two_sweeps(stage, done, total):
        if (stage, done) == ("codes", 2):
            raise StopError

    model = hasher(**parameters)
    with pytest.raises(StopError):
        model.fit(features, labels, callback=stop_after_two_sweeps)
    assert_same_model(model.fit(features, labels, resume=True), whole)


def test_an_interrupt_by_the_keyboard_keeps_the_old_model_and_the_work_done(small_blocks):
    features, labels = make(sizes=(600, 500))
    other_features, other_labels = make(seed=1)
    model = hasher().fit(other_features, other_labels)
    kept = model.codes_["image"]
    model.set_params(n_sweeps=30, tol=0)
    seen = []

    def interrupt_once(stage, done, total):
        seen.append(stage)
        if len(seen) == 12:
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        model.fit(features, labels, callback=interrupt_once)
    assert model.codes_["image"] is kept
    stages_before = len(seen)
    model.fit(features, labels, callback=lambda *event: seen.append(event), resume=True)
    expected = hasher(n_sweeps=30, tol=0).fit(features, labels)
    assert_same_model(model, expected)
    # Two events for the features, one per sweep of the codes: those made are not made again.
    assert seen[stages_before][0] != "features"
    with pytest.raises(ValueError, match="no fit of this model was interrupted"):
        model.fit(features, labels, resume=True)


def test_what_cannot_be_resumed():
    features, labels = make()
    with pytest.raises(ValueError, match="no fit of this model was interrupted"):
        hasher().fit(features, labels, resume=True)

    def stop(*event):
        raise StopError

    model = hasher()
    with pytest.raises(StopError):
        model.fit(features, labels, callback=stop)
    changed = {**labels, "text": 1 - labels["text"]}
    for parameters, y in (({"lam": 0.5}, labels), ({}, changed)):
        model.set_params(**parameters)
        with pytest.raises(ValueError, match="are not those of the fit"):
            model.fit(features, y, resume=True)
        model.set_params(lam=1e-2)
    before = model.random_state
    model.set_params(random_state=7)
    message = f"random_state is 7, and that of the fit that was interrupted is {before}: pass the"
    with pytest.raises(ValueError, match=message):
        model.fit(features, labels, resume=True)
    model.set_params(random_state=before)
    model.fit(features, labels, resume=True)


@pytest.mark.parametrize("init", ["random", "pca"])
def test_lengths_at_once_are_as_each_alone(small_blocks, init):
    features, labels = make()
    model = hasher(init=init)
    models = model.fit_lengths(features, labels, [8, 20, 12])
    assert list(models) == [8, 20, 12]
    assert not hasattr(model, "codes_")
    for length, found in models.items():
        alone = hasher(init=init, n_bits=length).fit(features, labels)
        assert found.n_bits == length
        assert found.n_iter_ == alone.n_iter_
        for name in features:
            np.testing.assert_array_equal(found.codes_[name], alone.codes_[name])
            np.testing.assert_allclose(
                found.projections_[name], alone.projections_[name], rtol=1e-6, atol=1e-8
            )


@pytest.mark.parametrize("lengths", [[], [8, 8], [0], [8.0], [95]])
def test_lengths_that_are_refused(lengths):
    features, labels = make()
    with pytest.raises((TypeError, ValueError), match="n_bits"):
        hasher().fit_lengths(features, labels, lengths)
    start = {name: np.zeros((len(x), 12)) for name, x in features.items()}
    with pytest.raises(ValueError, match="latents of one length"):
        hasher(init=start).fit_lengths(features, labels, [12])


def test_a_sample_to_start_from_costs_no_accuracy(monkeypatch):
    """Hash functions started from a sample of the rows are as good as those started from all."""
    features, labels = make(sizes=(800, 700))
    whole = hasher(tol=1e-4, n_sweeps=30).fit(features, labels)
    monkeypatch.setattr(amsh_fit, "_SAMPLE_ROWS", 300)
    monkeypatch.setattr(amsh_fit, "_KEPT_BYTES", 0)
    sampled = hasher(tol=1e-4, n_sweeps=30).fit(features, labels)
    for name, x in features.items():
        codes = [fh.unpack(m.encode(x, name), 12) for m in (whole, sampled)]
        learned = [fh.unpack(m.codes_[name], 12) for m in (whole, sampled)]
        right = [(a == b).mean() for a, b in zip(codes, learned, strict=True)]
        assert right[1] > right[0] - 0.03


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_number_of_threads_changes_nothing(small_blocks, n_threads):
    features, labels = make(dtype=np.float32)
    expected = hasher().fit(features, labels, n_threads=3)
    assert_same_model(hasher().fit(features, labels, n_threads=n_threads), expected)


def test_growing_by_new_samples():
    features, labels = make(sizes=(400, 300))
    new_features, new_labels = make(sizes=(150, 50), seed=1)
    model = hasher().fit(features, labels)
    before = {name: codes.copy() for name, codes in model.codes_.items()}
    untouched = model.projections_["text"]
    model.partial_fit({"image": new_features["image"]}, {"image": new_labels["image"]})
    assert model.codes_["image"].shape == (550, 2)
    np.testing.assert_array_equal(model.codes_["image"][:400], before["image"])
    np.testing.assert_array_equal(model.codes_["text"], before["text"])
    assert model.projections_["text"] is untouched
    # New samples have the codes their labels have: those with equal labels are near each other.
    distances = fh.distances(model.codes_["image"][400:], before["image"])
    same = (new_labels["image"][:, None] == labels["image"]).all(axis=2)
    assert distances[same].mean() < 1.5 < distances[~same].mean()
    # And the hash functions learn from them.
    learned = fh.unpack(model.codes_["image"][400:], 12)
    old = hasher().fit(features, labels)
    right = [
        (fh.unpack(m.encode(new_features["image"], "image"), 12) == learned).mean()
        for m in (old, model)
    ]
    assert right[1] > right[0]
    model.partial_fit(new_features, new_labels)
    assert len(model.codes_["image"]) == 700 and len(model.codes_["text"]) == 350


def test_growing_by_class_names():
    rng = np.random.default_rng(0)
    names = np.array(["ant", "bee", "cat"])
    y = {"image": rng.integers(0, 3, 90), "text": rng.integers(0, 3, 80)}
    x = {name: np.eye(3)[rows] + 0.1 * rng.random((len(rows), 3)) for name, rows in y.items()}
    model = hasher().fit(x, {name: names[rows] for name, rows in y.items()})
    assert model.classes_.tolist() == names.tolist()
    # A part that lacks a class keeps the columns of the others.
    model.partial_fit({"text": x["text"][:3]}, {"text": ["cat", "ant", "cat"]})
    with pytest.raises(ValueError, match="'dog', which is no class of the fit"):
        model.partial_fit({"text": x["text"][:2]}, {"text": ["cat", "dog"]})
    with pytest.raises(ValueError, match="as before; got 0/1 columns"):
        model.partial_fit({"text": x["text"][:2]}, {"text": np.eye(3)[:2]})
    # Codes of two lengths cannot be searched together.
    n_bits, before = model.n_bits, model.codes_["text"]
    model.set_params(n_bits=n_bits + 8)
    with pytest.raises(ValueError, match=f"the model has learned {n_bits}: call fit"):
        model.partial_fit({"text": x["text"][:2]}, {"text": ["cat", "ant"]})
    assert model.codes_["text"] is before


def test_what_growing_refuses():
    features, labels = make()
    model = hasher().fit(features, labels)
    kept = dict(vars(model))
    for x, y, message in (
        ({"sound": features["image"]}, {"sound": labels["image"]}, "one of 'image', 'text'"),
        ({"image": features["text"]}, {"image": labels["text"]}, "9 columns.*fitted with 12"),
        ({"image": features["image"]}, {"image": labels["image"][:, :4]}, "must have 5 columns"),
        ({"image": features["image"]}, {"image": labels["image"][:9]}, "9 rows for 90"),
        ({"image": features["image"]}, {"image": np.zeros(90, int)}, "5 0/1 columns"),
    ):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(x, y)
    assert vars(model).keys() == kept.keys()
    assert all(vars(model)[name] is value for name, value in kept.items())
