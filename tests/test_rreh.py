"""RREH as users meet it: what unpaired samples are good for, what is read and kept, refusals."""

import weakref

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fasthash as fh
from fasthash.datasets import semi_paired_split
from fasthash.models.rreh import estimator


def make(n=900, seed=0, dtype=np.float64):
    """Two modalities of ten classes on curved shapes, and their labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 10, n)
    place = 1.5 * rng.standard_normal((10, 4))[y] + 0.5 * rng.standard_normal((n, 4))
    x = {}
    for name, d in (("image", 30), ("text", 20)):
        lifted = np.tanh(place @ rng.standard_normal((4, d)))
        x[name] = (lifted + 0.5 * rng.standard_normal((n, d)) + 3).astype(dtype)
    return x, y


def semi_paired(x, ratio=0.1, seed=0):
    n = len(next(iter(x.values())))
    split = semi_paired_split(n, ratio, modalities=tuple(x), random_state=seed)
    return {name: values[split.rows[name]] for name, values in x.items()}, split.pairs


def score(model, x, y, queries, query_labels):
    """mAP of both directions, everything coded by the hash functions."""
    a, b = x
    return np.mean(
        [
            fh.mean_average_precision(
                model.encode(queries[q], q), model.encode(x[t], t), query_labels, y, ties="expected"
            )
            for q, t in ((a, b), (b, a))
        ]
    )


def test_unpaired_samples_help():
    """By how much varies from one set to the next, so three of them."""
    scores = {"RREH": 0.0, "paired only": 0.0, "CCA-ITQ": 0.0}
    for seed in range(3):
        x, y = make(1300, seed)
        queries = {name: values[900:] for name, values in x.items()}
        database = {name: values[:900] for name, values in x.items()}
        few, pairs = semi_paired(database, 0.05, seed)
        models = {
            "RREH": fh.RREH(32, random_state=0),
            "paired only": fh.RREH(32, unpaired=False, random_state=0),
            "CCA-ITQ": fh.CCAITQ(32, ridge=1.0, random_state=0),
        }
        for name, model in models.items():
            model.fit(few, pairs=pairs)
            scores[name] += score(model, database, y[:900], queries, y[900:]) / 3
    assert scores["RREH"] > scores["paired only"] + 0.02
    assert scores["RREH"] > scores["CCA-ITQ"] + 0.02


def test_what_a_fit_learns():
    x, _ = make()
    few, pairs = semi_paired(x)
    before = {name: values.copy() for name, values in few.items()}
    model = fh.RREH(24, n_anchors=50, random_state=0).fit(few, pairs=pairs)
    assert model.modalities_ == ("image", "text")
    assert model.n_features_in_ == {"image": 30, "text": 20}
    assert (np.diff(model.objective_) <= 1e-9 * model.objective_[0]).all()
    assert model.objective_.shape == (5,) and model.anchors_.shape == (50,)
    for column, name in enumerate(x):
        assert 0 < model.reliability_[name] < 1 and 0 < model.weights_[name] <= 1
        assert model.codes_[name].shape == (900, 3) and model.codes_[name].dtype == np.uint8
        np.testing.assert_array_equal(few[name], before[name])
        agreement = fh.unpack(model.codes_[name], 24) == fh.unpack(
            model.encode(few[name], name), 24
        )
        assert agreement.mean() > 0.9
        first, codes = model.codes_["image"][pairs[:, 0]], model.codes_[name][pairs[:, column]]
        np.testing.assert_array_equal(codes, first)


def test_without_pairs_row_belongs_to_row():
    x, _ = make(200)
    default = fh.RREH(16, random_state=0).fit(x)
    given = fh.RREH(16, random_state=0).fit(x, pairs=np.stack([np.arange(200)] * 2, axis=1))
    trusting = fh.RREH(16, reliability=1.0, random_state=0).fit(x)
    assert default.weights_ == trusting.weights_ == {"image": 0.0, "text": 0.0}
    for name in x:
        np.testing.assert_array_equal(default.codes_[name], given.codes_[name])
        np.testing.assert_array_equal(default.codes_[name], default.codes_["image"])


def test_paired_only_is_a_fit_of_the_pairs():
    x, _ = make(300)
    few, pairs = semi_paired(x, 0.3)
    model = fh.RREH(16, unpaired=False, random_state=0).fit(few, pairs=pairs)
    alone = fh.RREH(16, random_state=0).fit(
        {name: values[pairs[:, column]] for column, (name, values) in enumerate(few.items())}
    )
    for column, name in enumerate(few):
        np.testing.assert_array_equal(model.projections_[name], alone.projections_[name])
        np.testing.assert_array_equal(model.codes_[name][pairs[:, column]], alone.codes_[name])
        others = np.delete(np.arange(len(few[name])), pairs[:, column])
        np.testing.assert_array_equal(
            model.codes_[name][others], model.encode(few[name][others], name)
        )


@pytest.mark.parametrize("preprocessing", ["none", "standardise"])
def test_unpaired_rows_are_left_out_where_relations_explain_nothing(preprocessing):
    """A neighbour in one modality is no neighbour in the other: the fit is that of the pairs."""
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal((600, d)) for name, d in (("image", 6), ("text", 4))}
    few, pairs = semi_paired(x, 0.5)
    settings = {"n_anchors": 50, "preprocessing": preprocessing}
    alone = fh.RREH(16, unpaired=False, random_state=0, **settings).fit(few, pairs=pairs)
    for seed in (0, np.random.RandomState(0)):
        model = fh.RREH(16, random_state=seed, **settings).fit(few, pairs=pairs)
        for name in x:
            assert model.reliability_[name] < 0.25 and model.weights_[name] == 0
            np.testing.assert_array_equal(model.projections_[name], alone.projections_[name])
            np.testing.assert_array_equal(model.codes_[name], alone.codes_[name])
    asked = fh.RREH(16, reliability=0.5, random_state=0, **settings).fit(few, pairs=pairs)
    assert asked.weights_ == {"image": 0.5, "text": 0.5}
    # With fewer pairs than anchors, other rows are centres.
    most = fh.RREH(16, random_state=0, n_anchors=400, kernel="rbf").fit(few, pairs=pairs)
    assert most.feature_maps_["image"].n_out == 400


def test_the_first_start_is_freed_before_the_second(monkeypatch):
    """So that leaving unpaired rows out takes no more memory than keeping them."""
    x = {
        name: np.random.default_rng(d).standard_normal((300, d)) for name, d in (("a", 6), ("b", 4))
    }
    few, pairs = semi_paired(x, 0.5)
    before, start_views = [], estimator.start_views

    def watched(*arguments):
        assert all(view() is None for view in before)
        start = start_views(*arguments)
        before.extend(weakref.ref(view) for view in start[0])
        return start

    monkeypatch.setattr(estimator, "start_views", watched)
    assert fh.RREH(16, n_anchors=50, random_state=0).fit(few, pairs=pairs).weights_["a"] == 0
    assert len(before) == 4


def test_unpaired_rows_of_three_modalities_are_left_out():
    """Also if one modality has none, and each stage is reported once."""
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal((n, 5)) for name, n in (("a", 500), ("b", 300), ("c", 450))}
    pairs = np.stack([rng.permutation(len(rows))[:300] for rows in x.values()], axis=1)
    stages = []
    model = fh.RREH(16, n_anchors=50, n_sweeps=2, random_state=0)
    model.fit(x, pairs, callback=lambda stage, done, total: stages.append((stage, done)))
    assert model.weights_ == {"a": 0, "b": 0, "c": 0}
    assert stages[:3] == [("start", 1), ("sweeps", 1), ("sweeps", 2)]
    assert len(set(stages)) == len(stages)
    alone = clone(model).set_params(unpaired=False).fit(x, pairs)
    for name, rows in x.items():
        np.testing.assert_array_equal(model.codes_[name], alone.codes_[name])
        others = np.setdiff1d(np.arange(len(rows)), pairs[:, list(x).index(name)])
        if len(others):
            encoded = model.encode(rows[others], name)
            np.testing.assert_array_equal(model.codes_[name][others], encoded)


def test_there_is_nothing_to_leave_out_of_pairs():
    """In whatever order the pairs are, all rows are read in their own."""
    x, _ = make()
    few, pairs = semi_paired(x, 1.0)
    both = [
        fh.RREH(16, n_anchors=50, unpaired=unpaired, random_state=0).fit(few, pairs=pairs)
        for unpaired in (True, False)
    ]
    for name in x:
        np.testing.assert_array_equal(both[0].projections_[name], both[1].projections_[name])


def clusters(n_classes, n, noise, seed=0):
    """Two modalities of many classes: features that are linear in the classes, and labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    x = {
        name: rng.standard_normal((n_classes, d))[y] + noise * rng.standard_normal((n, d))
        for name, d in (("image", 60), ("text", 40))
    }
    return x, y


def circles(n, seed=0):
    """Two modalities that have an angle in common, once and doubled, and the angle."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    x = {
        "image": np.column_stack([np.cos(angle), np.sin(angle)]),
        "text": np.column_stack([np.cos(2 * angle), np.sin(2 * angle)]),
    }
    return {name: v + 0.05 * rng.standard_normal(v.shape) for name, v in x.items()}, angle


def test_features_are_chosen_by_what_suits_the_pairs():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((600, 20))
    x = {
        name: common @ rng.standard_normal((20, d)) + 2 * rng.standard_normal((600, d))
        for name, d in (("image", 40), ("text", 30))
    }
    linear = fh.RREH(32, n_anchors=100, random_state=0).fit(*semi_paired(x, 0.5))
    x, _ = circles(600)
    radial = fh.RREH(32, n_anchors=100, random_state=0).fit(*semi_paired(x, 0.5))
    assert linear.linear_share_ == 1.0 and radial.linear_share_ == 0.0
    assert fh.RREH(8, kernel="rbf", random_state=0).fit(x).linear_share_ is None


def test_more_classes_than_a_few_directions_can_tell_apart():
    """With 30 classes and strong features, as good as the baseline that these suit best."""
    x, y = clusters(30, 1500, 2.0)
    queries = {name: values[1000:] for name, values in x.items()}
    database = {name: values[:1000] for name, values in x.items()}
    few, pairs = semi_paired(database, 0.5)
    scores = [
        score(model.fit(few, pairs=pairs), database, y[:1000], queries, y[1000:])
        for model in (fh.RREH(64, random_state=0), fh.CCAITQ(64, random_state=0))
    ]
    assert scores[0] > scores[1] - 0.01


@pytest.mark.parametrize("n_pairs", [2, 5, 13])
def test_few_pairs(n_pairs):
    x, y = clusters(5, 400, 0.5)
    pairs = np.stack([np.arange(n_pairs)] * 2, axis=1)
    model = fh.RREH(32, random_state=0).fit(x, pairs=pairs)
    assert (np.diff(model.objective_) <= 1e-9 * model.objective_[0]).all()
    scores = [score(model, x, y, x, y)]
    few = {name: values[:n_pairs] for name, values in x.items()}
    scores.append(score(fh.CCAITQ(32, random_state=0).fit(few), x, y, x, y))
    assert scores[0] > scores[1] - 0.05


def test_wrong_pairs_do_little_harm():
    x, y = clusters(10, 600, 1.0)
    few, pairs = semi_paired(x, 0.3)
    wrong = pairs.copy()
    wrong[:36, 1] = np.roll(pairs[:36, 1], 1)
    scores = [
        score(fh.RREH(32, random_state=0).fit(few, pairs=given), x, y, x, y)
        for given in (pairs, wrong)
    ]
    assert scores[1] > scores[0] - 0.1


def test_features_side_by_side_are_saved(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    x, _ = make(200)
    pairs = np.stack([np.arange(10)] * 2, axis=1)
    model = fh.RREH(16, random_state=0).fit(x, pairs=pairs)
    assert model.linear_share_ == 0.5
    model.save(tmp_path / "model")
    loaded = fh.RREH.load(tmp_path / "model")
    assert loaded.linear_share_ == 0.5
    for name, values in x.items():
        np.testing.assert_array_equal(loaded.encode(values, name), model.encode(values, name))
    maps = model.feature_maps_["image"].maps
    for damaged in (maps[:1], (maps[0], "text"), (maps[0], model.feature_maps_["text"].maps[1])):
        model.feature_maps_["image"] = type(model.feature_maps_["image"])(damaged)
        model.save(tmp_path / "damaged")
        with pytest.raises(ValueError, match="damaged"):
            fh.RREH.load(tmp_path / "damaged")


def test_many_columns_are_reduced():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((500, 5))
    x = {
        name: common @ rng.standard_normal((5, d)) + rng.standard_normal((500, d))
        for name, d in (("image", 400), ("text", 30))
    }
    model = fh.RREH(16, kernel="linear", random_state=0).fit(x)
    assert model.projections_["image"].shape == (400, 16)
    rest = fh.distances(model.encode(x["image"], "image"), model.encode(x["text"], "text"))
    assert np.diag(rest).mean() < 0.5 * rest.mean()


def test_three_modalities():
    x, y = make(400)
    x["audio"] = x["image"][:, ::-1] ** 2
    few, pairs = semi_paired(x, 0.4)
    model = fh.RREH(16, n_anchors=80, random_state=0).fit(few, pairs=pairs)
    assert set(model.codes_) == {"image", "text", "audio"}
    found = fh.topk(model.encode(x["audio"][:50], "audio"), model.encode(x["text"], "text"), k=5)[1]
    assert np.mean(y[found] == y[:50, None]) > 0.5


@pytest.mark.parametrize("kind", ["memmap", "h5py"])
def test_files_are_read_like_arrays(kind, tmp_path):
    x, _ = make(300, dtype=np.float32)
    few, pairs = semi_paired(x, 0.3)
    expected = fh.RREH(16, random_state=0).fit(few, pairs=pairs)
    opened = {}
    for name, values in few.items():
        if kind == "memmap":
            np.save(tmp_path / f"{name}.npy", values)
            opened[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        else:
            h5py = pytest.importorskip("h5py", reason="h5py is not installed")
            with h5py.File(tmp_path / f"{name}.h5", "w") as file:
                file["x"] = values
            opened[name] = h5py.File(tmp_path / f"{name}.h5")["x"]
    model = fh.RREH(16, random_state=0).fit(opened, pairs=pairs)
    for name in few:
        np.testing.assert_array_equal(model.codes_[name], expected.codes_[name])


def test_same_seed_same_codes_whatever_the_threads():
    x, _ = make(300)
    few, pairs = semi_paired(x, 0.3)
    one = fh.RREH(16, random_state=3).fit(few, pairs=pairs, n_threads=1)
    two = fh.RREH(16, random_state=3).fit(few, pairs=pairs, n_threads=2)
    for name in few:
        np.testing.assert_array_equal(one.codes_[name], two.codes_[name])


def test_progress_and_interruption():
    x, _ = make(200)
    seen = []
    model = fh.RREH(8, n_sweeps=3, random_state=0)
    model.fit(x, callback=lambda *event: seen.append(event))
    assert seen == [("start", 1, 1), *(("sweeps", done, 3) for done in (1, 2, 3))]
    codes = model.codes_

    def interrupt(stage, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.set_params(n_bits=16).fit(x, callback=interrupt)
    assert model.codes_ is codes


def test_an_estimator_like_others():
    model = fh.RREH(n_bits=8, mu=2.0)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.encode(np.ones((1, 2)), "image")


@pytest.mark.parametrize(
    "change",
    [
        {"n_anchors": 1},
        {"n_anchors": None},
        {"n_anchors": 5000},
        {"k": 500},
        {"kernel": "linear"},
        {"reconstruction": "dense"},
        {"n_components": 500},
        {"n_bits": 200},
        {"whitening": 0.0},
    ],
)
def test_unusual_settings_work(change):
    x, _ = make(120)
    few, pairs = semi_paired(x, 0.3)
    model = fh.RREH(**{"n_bits": 16, "random_state": 0, **change}).fit(few, pairs=pairs)
    assert np.isfinite(model.objective_).all()
    assert (np.diff(model.objective_) <= 1e-9 * model.objective_[0]).all()


def test_single_precision_whitens_without_breaking():
    """Smooth kernels in few dimensions: their small eigenvalues are below the rounding."""
    y = np.random.default_rng(0).random((2000, 2))
    x = {"image": (y + 10).astype(np.float32), "text": np.hstack([y, y**2]).astype(np.float32)}
    model = fh.RREH(16, width=3.0, whitening=1.0, random_state=0).fit(x)
    assert np.isfinite(model.objective_).all()
    found = fh.topk(model.encode(x["image"], "image"), model.encode(x["text"], "text"), k=1)[1]
    assert np.median(np.linalg.norm(y[found[:, 0]] - y, axis=1)) < 0.25


def test_unusual_data_works():
    """Rows given twice, columns that do not vary, two pairs, one sample without a partner."""
    x, _ = make(60)
    x["image"][1:20] = x["image"][0]
    x["text"][:, 3] = 7.0
    for rows in (range(30, 32), range(59)):
        pairs = np.stack([rows] * 2, axis=1)
        with pytest.warns(UserWarning, match=r"hold one value in all 60 rows \(3\)"):
            model = fh.RREH(8, random_state=0).fit(x, pairs=pairs)
        assert np.isfinite(model.objective_).all()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components"),
        ({"width": 0.0}, ValueError, "width"),
        ({"reconstruction": "thin"}, ValueError, "reconstruction must be one of 'sparse', 'dense'"),
        ({"kernel": "cubic"}, ValueError, "kernel must be one of"),
        ({"reliability": -1.0}, ValueError, "reliability"),
        ({"unpaired": "no"}, TypeError, "unpaired must be True or False"),
    ],
)
def test_parameters_it_refuses(parameters, error, message):
    x, _ = make(30)
    with pytest.raises(error, match=message):
        fh.RREH(**parameters).fit(x)


def test_data_it_refuses():
    x, _ = make(30)
    with pytest.raises(ValueError, match=r"features\['text'\] has the same row in all samples"):
        fh.RREH(8).fit({**x, "text": np.ones((30, 4))})
    x["image"][:2] = 1.0
    with pytest.raises(ValueError, match=r"features\['image'\] has the same row in all pairs"):
        fh.RREH(8).fit(x, pairs=[[0, 0], [1, 1]])
    with pytest.raises(ValueError, match="pairs is None"):
        fh.RREH(8).fit({**x, "text": x["text"][:-1]})
    with pytest.raises(ValueError, match="modality must be one of 'image', 'text'"):
        fh.RREH(8, random_state=0).fit(x).encode(x["image"], "audio")
