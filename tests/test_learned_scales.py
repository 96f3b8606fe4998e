"""The scales of distances that models learn: the pairs they count, files, and what they refuse."""

import numpy as np
import pytest

import fasthash as fh
from fasthash.models._scales import Related, learn_scales, scale_of, scale_within


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 300)
    shared = np.eye(4)[y] + 0.4 * rng.standard_normal((300, 4))
    return y, {
        "image": shared @ rng.standard_normal((4, 12)),
        "text": shared @ rng.standard_normal((4, 8)),
    }


def test_amsh_counts_pairs_that_share_a_label(data):
    y, features = data
    model = fh.AMSH(16, random_state=0).fit(features, labels={"image": y, "text": y})
    assert set(model.distance_scales_) == {"image", "text"}
    # There are fewer samples than are drawn, so all pairs count.
    for a in features:
        for b in features:
            far = fh.distances(model.encode(features[a], a), model.codes_[b])
            counted = ~np.eye(300, dtype=bool) if a == b else np.ones((300, 300), bool)
            same = y[:, None] == y
            relevant = np.bincount(far[counted & same], minlength=17)
            other = np.bincount(far[counted & ~same], minlength=17)
            scale = model.distance_scales_[a][b]
            np.testing.assert_array_equal(scale.relevant, relevant)
            np.testing.assert_array_equal(scale.other, other)


@pytest.mark.parametrize("method", [fh.CCAITQ, fh.RREH])
def test_pairs_are_relevant_and_no_other_samples(data, method):
    _, features = data
    rows = np.random.default_rng(1).permutation(300)[:200]
    moved = {"image": features["image"], "text": features["text"][::-1]}
    model = method(16, random_state=0).fit(moved, np.stack([rows, 299 - rows], axis=1))
    scale = model.distance_scales_["text"]["image"]
    far = fh.distances(model.encode(features["text"][rows], "text"), model.codes_["image"][rows])
    own = np.eye(200, dtype=bool)
    np.testing.assert_array_equal(scale.relevant, np.bincount(far[own], minlength=17))
    np.testing.assert_array_equal(scale.other, np.bincount(far[~own], minlength=17))
    assert not model.distance_scales_["text"]["text"].relevant.any()
    assert model.distance_scales_["text"]["text"].other.sum() == 200 * 199


def test_samples_without_a_partner_are_left_out():
    related = Related.of_pairs(np.array([[0, 2], [1, -1], [-1, 0]]), {"a": [0] * 3, "b": [0] * 3})
    assert {name: rows.tolist() for name, rows in related.sampled.items()} == {
        "a": [0, 1],
        "b": [0, 2],
    }
    assert related.matrix("a", "b").tolist() == [[False, True], [False, False]]
    codes = {name: np.zeros((3, 1), np.uint8) for name in "ab"}
    scales = learn_scales(related, lambda name, rows: codes[name][rows], codes, 8)
    assert scales["a"]["b"].relevant[0] == 1 and scales["a"]["b"].other[0] == 3


def test_labels_that_all_samples_share_leave_nothing_to_compare(data):
    _, features = data
    same = np.zeros(300, int)
    same[0] = 1
    model = fh.AMSH(8, random_state=0).fit(features, labels={"image": same, "text": same})
    assert model.distance_scales_["text"]["image"].other.sum() == 2 * 299


def test_at_most_a_thousand_samples_are_counted():
    x = np.random.default_rng(0).standard_normal((1500, 6))
    model = fh.CCAITQ(8, random_state=0).fit({"a": x, "b": x + 0.1})
    scale = model.distance_scales_["a"]["b"]
    assert scale.relevant.sum() == 1000 and scale.other.sum() == 1000 * 999


def test_a_file_keeps_the_scales_and_may_lack_them(data, tmp_path):
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    y, features = data
    model = fh.AMSH(16, random_state=0).fit(features, labels={"image": y, "text": y})
    model.save(tmp_path / "with.model")
    again = fh.load(tmp_path / "with.model")
    for a, scales in model.distance_scales_.items():
        for b, scale in scales.items():
            found = again.distance_scales_[a][b]
            np.testing.assert_array_equal(found.relevant, scale.relevant)
            np.testing.assert_array_equal(found.other, scale.other)
    # As an earlier version wrote it.
    del model.distance_scales_
    model.save(tmp_path / "without.model")
    old = fh.load(tmp_path / "without.model")
    assert not hasattr(old, "distance_scales_") and old.fingerprint() == again.fingerprint()
    np.testing.assert_array_equal(
        old.encode(features["text"], "text"), again.encode(features["text"], "text")
    )


def test_a_scale_of_other_codes_in_a_file_is_refused(data, tmp_path):
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    y, features = data
    model = fh.AMSH(16, random_state=0).fit(features, labels={"image": y, "text": y})
    counts = np.ones(9, np.int64)
    model.distance_scales_ = {"image": {"text": fh.metrics.DistanceScale(counts, counts)}}
    model.save(tmp_path / "forged.model")
    with pytest.raises(ValueError, match="no scale of 16 bits"):
        fh.load(tmp_path / "forged.model")


def test_the_scale_of_a_query_joins_the_other_modalities(data):
    _, features = data
    three = {**features, "sound": features["image"][:, :5]}
    model = fh.CCAITQ(8, random_state=0).fit(three)
    scales = model.distance_scales_
    joined = scale_of(scales, "text")
    expected = scales["text"]["image"].relevant + scales["text"]["sound"].relevant
    np.testing.assert_array_equal(joined.relevant, expected)
    within = sum(scales[name][name].other for name in three)
    np.testing.assert_array_equal(scale_within(scales).other, within)
    assert scale_within({}) is None
    assert scale_of(scales, "smell") is None and scale_of({}, "text") is None
