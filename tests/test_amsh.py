"""AMSH: agreement with the reference, invariants, what it promises about inputs, and refusals."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fasthash as fh
from reference import discrete as reference


def make_problem(seed=0, sizes=(90, 70), widths=(12, 9), n_classes=5, share=0.3, noise=0.3):
    """Unpaired multi-label modalities with class-dependent features."""
    rng = np.random.default_rng(seed)
    features, labels = {}, {}
    for name, n, d in zip(("image", "text", "audio"), sizes, widths, strict=False):
        y = (rng.random((n, n_classes)) < share).astype(int)
        y[np.arange(n), rng.integers(0, n_classes, n)] = 1
        noise_part = noise * rng.standard_normal((n, d))
        features[name] = y @ rng.standard_normal((n_classes, d)) + noise_part
        labels[name] = y
    return features, labels


def fit(features, labels, **parameters):
    return fh.AMSH(**{"n_bits": 12, "random_state": 0, **parameters}).fit(features, labels)


def assert_same_model(a, b):
    for name in a.modalities_:
        np.testing.assert_array_equal(a.codes_[name], b.codes_[name])
        np.testing.assert_array_equal(a.projections_[name], b.projections_[name])


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_sweeps_agree_with_the_reference(n_modalities):
    sizes, widths = (60, 50, 40)[:n_modalities], (8, 7, 6)[:n_modalities]
    features, labels = make_problem(sizes=sizes, widths=widths)
    labels["text"][3] = 0
    rng = np.random.default_rng(1)
    start = {name: rng.standard_normal((len(x), 6)) for name, x in features.items()}
    lam, beta, eta = 0.01, 0.02, 0.7
    model = fit(
        features,
        labels,
        n_bits=6,
        n_anchors=None,
        n_sweeps=4,
        lam=lam,
        beta=beta,
        eta=eta,
        init=start,
        tol=0,
    )
    dense = [y.astype(float) for y in labels.values()]
    targets, v = dense, list(start.values())
    b = [reference.sign(x) for x in v]
    for sweep in range(4):
        targets, p, v, b = reference.sweep(dense, targets, v, b, lam, beta, eta)
        expected = reference.objective(dense, targets, p, v, b, lam, beta, eta)
        assert model.objective_[sweep] == pytest.approx(expected, rel=1e-9)
    for name, expected_b in zip(features, b, strict=True):
        np.testing.assert_array_equal(fh.unpack(model.codes_[name], 6), expected_b > 0)
        centred = features[name] - features[name].mean(axis=0)
        expected_f = reference.hash_function(centred, expected_b, 0.01, 4)
        np.testing.assert_allclose(model.projections_[name], expected_f, rtol=0, atol=1e-8)


@pytest.mark.parametrize("init", ["random", "pca"])
def test_the_objective_never_increases(init):
    for seed in range(5):
        features, labels = make_problem(seed)
        objective = fit(features, labels, init=init, lam=0.05, beta=0.05, tol=0).objective_
        assert len(objective) == 15
        assert (np.diff(objective) <= 1e-9 * objective[0]).all()


def test_an_ill_conditioned_start_is_solved_not_inverted():
    features, labels = make_problem()
    rng = np.random.default_rng(0)
    start = {}
    for name, x in features.items():
        start[name] = rng.standard_normal((len(x), 12)) * np.logspace(0, -5, 12)
    model = fit(features, labels, init=start)
    assert np.isfinite(model.objective_).all()
    assert all(np.isfinite(f).all() for f in model.projections_.values())


def test_samples_without_labels_take_part():
    features, labels = make_problem()
    labels["image"][:20] = 0
    model = fit(features, labels)
    assert np.isfinite(model.objective_).all()
    assert len(model.codes_["image"]) == 90


def test_single_precision_gives_nearly_the_same_codes():
    features, labels = make_problem(sizes=(200, 180))
    single = {name: x.astype(np.float32) for name, x in features.items()}
    double = {name: x.astype(np.float64) for name, x in single.items()}
    a, b = fit(single, labels), fit(double, labels)
    for name in features:
        np.testing.assert_array_equal(a.codes_[name], b.codes_[name])
        ours, theirs = a.encode(single[name], name), b.encode(double[name], name)
        assert (fh.unpack(ours, 12) == fh.unpack(theirs, 12)).mean() > 0.995


@pytest.mark.parametrize("init", ["random", "pca"])
@pytest.mark.parametrize("n_anchors", [None, 20, "auto"])
def test_more_bits_than_features(init, n_anchors):
    features, labels = make_problem(widths=(5, 4))
    model = fit(features, labels, n_bits=32, init=init, n_anchors=n_anchors)
    assert model.encode(features["text"], "text").shape == (70, 4)
    assert (np.diff(model.objective_) <= 1e-9 * model.objective_[0]).all()


def test_constant_columns_and_collinear_features():
    features, labels = make_problem()
    features["image"][:, 0] = 7
    features["image"][:, 1] = 2 * features["image"][:, 2]
    for n_anchors in (None, 30):
        with pytest.warns(UserWarning, match=r"columns that hold one value in all \d+ rows \(0\)"):
            model = fit(features, labels, n_anchors=n_anchors, init="pca")
        assert np.isfinite(model.projections_["image"]).all()


def test_a_ridge_lost_in_rounding_is_refused():
    features, labels = make_problem()
    features["image"] = 1e9 * np.repeat(features["image"], 2, axis=1)
    with pytest.raises(ValueError, match=r"ridge=0.01 is lost in rounding"):
        fit(features, labels, n_anchors=None)


def test_it_retrieves_across_modalities():
    """New samples of one modality find training samples of the other that share a label."""
    features, labels = make_problem(
        sizes=(600, 500), widths=(20, 15), n_classes=12, share=0.05, noise=0.5
    )
    half = {name: len(x) // 2 for name, x in features.items()}
    train = {name: x[: half[name]] for name, x in features.items()}
    train_labels = {name: y[: half[name]] for name, y in labels.items()}
    model = fit(train, train_labels, n_bits=32)
    for query, target in (("image", "text"), ("text", "image")):
        held_out = model.encode(features[query][half[query] :], query)
        args = (labels[query][half[query] :], train_labels[target])
        score = fh.mean_average_precision(held_out, model.codes_[target], *args)
        relevant = (args[0] @ args[1].T > 0).mean()
        assert score > relevant + 0.2


def test_the_same_seed_gives_the_same_model_another_one_does_not():
    features, labels = make_problem()
    model = fit(features, labels, n_anchors=30)
    assert_same_model(model, fit(features, labels, n_anchors=30))
    other = fit(features, labels, n_anchors=30, random_state=1)
    assert (other.codes_["image"] != model.codes_["image"]).any()


def test_kinds_of_labels_mean_the_same():
    features, _ = make_problem()
    rng = np.random.default_rng(0)
    names = np.array(["ant", "bee", "cat"])
    y = {name: rng.integers(0, 3, len(x)) for name, x in features.items()}
    model = fit(features, y)
    one_hot = {name: np.eye(3)[labels] for name, labels in y.items()}
    for same in (
        {name: names[labels] for name, labels in y.items()},
        {name: names[labels].astype(object) for name, labels in y.items()},
        {name: labels.tolist() for name, labels in y.items()},
        {name: 5 + 10 * labels for name, labels in y.items()},
        one_hot,
        {name: labels.astype(bool) for name, labels in one_hot.items()},
        {name: sparse.csr_array(labels) for name, labels in one_hot.items()},
        {name: sparse.coo_matrix(labels) for name, labels in one_hot.items()},
    ):
        assert_same_model(fit(features, same), model)


def test_inputs_are_never_changed(tmp_path):
    features, labels = make_problem()
    labels["text"] = sparse.csr_array(labels["text"])
    start = {name: np.random.default_rng(0).random((len(x), 12)) for name, x in features.items()}
    before = [x.copy() for x in (*features.values(), labels["image"], *start.values())]
    sparse_before = labels["text"].copy()
    for x in (*features.values(), labels["image"], *start.values()):
        x.flags.writeable = False
    model = fit(features, labels, init=start)
    model.encode(features["image"], "image")
    after = [*features.values(), labels["image"], *start.values()]
    for x, kept in zip(after, before, strict=True):
        np.testing.assert_array_equal(x, kept)
    assert (labels["text"] != sparse_before).nnz == 0


def test_features_from_a_memory_map(tmp_path):
    features, labels = make_problem()
    np.save(tmp_path / "x.npy", features["image"])
    mapped = {**features, "image": np.load(tmp_path / "x.npy", mmap_mode="r")}
    assert_same_model(fit(mapped, labels), fit(features, labels))


def test_scikit_learns_manners():
    model = fh.AMSH(n_bits=8, n_anchors=7, random_state=3)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.encode(np.zeros((1, 12)), "image")
    features, labels = make_problem()
    model.fit(features, labels)
    assert model.n_features_in_ == {"image": 12, "text": 9}
    assert model.modalities_ == ("image", "text")


def replaced(mapping, **changes):
    return {**mapping, **changes}


def with_value(x, value):
    changed = x.copy()
    changed[3, 2] = value
    return changed


F, L = make_problem()
REFUSED = {
    "wrong dtype": ({}, replaced(F, image=F["image"].astype(str)), L, TypeError, "dtype"),
    "complex": ({}, replaced(F, image=F["image"] + 1j), L, TypeError, "complex128"),
    "NaN": ({}, replaced(F, text=with_value(F["text"], np.nan)), L, ValueError, r"\[3, 2\] is nan"),
    "inf": ({}, replaced(F, text=with_value(F["text"], np.inf)), L, ValueError, r"\[3, 2\] is inf"),
    "one dimension": ({}, replaced(F, image=F["image"][0]), L, ValueError, r"shape \(12,\)"),
    "empty": ({}, replaced(F, image=F["image"][:0]), L, ValueError, "is empty"),
    "constant": ({}, replaced(F, image=np.ones((90, 3))), L, ValueError, "same row"),
    "one modality": ({}, {"image": F["image"]}, {"image": L["image"]}, ValueError, "at least 2"),
    "no mapping": ({}, F["image"], L, TypeError, "mapping of modality names"),
    "unnamed": ({}, {0: F["image"], 1: F["text"]}, L, TypeError, "must be strings, got 0"),
    "rows": ({}, F, replaced(L, image=L["image"][:-1]), ValueError, "89 rows for 90 samples"),
    "missing labels": ({}, F, {"image": L["image"]}, ValueError, "every modality needs both"),
    "labels no mapping": ({}, F, L["image"], TypeError, "labels must be a mapping"),
    "label columns": ({}, F, replaced(L, text=L["text"][:, 1:]), ValueError, "number of columns"),
    "label values": ({}, F, replaced(L, text=2 * L["text"]), ValueError, "the value 2"),
    "label NaN": ({}, F, replaced(L, text=np.full((70, 5), np.nan)), ValueError, "NaN"),
    "label kinds": ({}, F, replaced(L, text=np.arange(70)), ValueError, "use one of them"),
    "float classes": (
        {},
        F,
        {"image": np.full(90, 0.5), "text": np.ones(70)},
        ValueError,
        "number 0.5",
    ),
    "negative class": (
        {},
        F,
        {"image": np.arange(90) - 1, "text": np.arange(70)},
        ValueError,
        "class number -1",
    ),
    "one class": (
        {},
        F,
        {"image": np.zeros(90, int), "text": np.zeros(70, int)},
        ValueError,
        "labels have 1 class",
    ),
    "names and numbers": (
        {},
        F,
        {"image": np.arange(90), "text": np.arange(70).astype(str)},
        ValueError,
        r"^labels\['text'\] had class names, and labels\['image'\] class numbers: pass names or",
    ),
    "no common class": (
        {},
        F,
        {"image": np.arange(90) % 3, "text": np.arange(70) % 4 + 3},
        ValueError,
        r"labels\['image'\] has 3 classes, and none of them is in labels\['text'\]",
    ),
    "no labels": ({}, F, replaced(L, text=0 * L["text"]), ValueError, "all empty"),
    "bits": ({"n_bits": 70}, F, L, ValueError, "'text'.*70 samples: n_bits=70"),
    "no bits": ({"n_bits": 0}, F, L, ValueError, "n_bits must be at least 1, got 0"),
    "anchors": ({"n_anchors": 80}, F, L, ValueError, "n_anchors=80.*'text'.*only 70"),
    "anchor word": ({"n_anchors": "all"}, F, L, ValueError, "'auto' or None, got 'all'"),
    "init": ({"init": "zeros"}, F, L, ValueError, "'random', 'pca', got 'zeros'"),
    "init shape": ({"init": {"text": F["text"]}}, F, L, ValueError, "shape.*got None"),
    "lam": ({"lam": -1}, F, L, ValueError, "lam must be finite and at least 0, got -1"),
    "eta": ({"eta": "1"}, F, L, TypeError, "eta must be a real number, got '1'"),
    "ridge": ({"ridge": 0.0}, F, L, ValueError, "ridge must be finite and greater than 0"),
    "width": ({"width": np.nan}, F, L, ValueError, "width must be finite"),
    "tol": ({"tol": -0.1}, F, L, ValueError, "tol must be finite and at least 0"),
    "sweeps": ({"n_sweeps": 1.5}, F, L, TypeError, "n_sweeps must be an integer, got 1.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_fit_leaves_the_model_as_it_was(case):
    parameters, features, labels, error, message = REFUSED[case]
    model = fh.AMSH(n_bits=8, random_state=0, n_sweeps=2).fit(F, L)
    kept = dict(vars(model))
    model.set_params(**parameters)
    with pytest.raises(error, match=message):
        model.fit(features, labels)
    for name, value in kept.items():
        if name.endswith("_"):
            assert vars(model)[name] is value


@pytest.mark.parametrize(
    ("x", "modality", "message"),
    [
        (np.zeros((2, 12)), "sound", "one of 'image', 'text', got 'sound'"),
        ("image", np.zeros((2, 12)), r"one of 'image', 'text', got an array of shape \(2, 12\)"),
        (np.zeros((2, 9)), "image", "X has 9 columns, but the model was fitted with 12"),
        (np.full((2, 12), np.nan), "image", "X.* is nan"),
        (np.zeros(12), "image", "two dimensions"),
    ],
)
def test_what_encode_refuses(x, modality, message):
    model = fh.AMSH(n_bits=8, random_state=0, n_sweeps=1).fit(F, L)
    with pytest.raises(ValueError, match=message):
        model.encode(x, modality)
