"""Models in files: what is loaded encodes as what was saved, and nothing else is ever loaded."""

import json
import subprocess
import sys
import zlib

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import fasthash as fh
from fasthash import models
from fasthash.models import _saving as saving
from fasthash.models._saving import SavedModel

safetensors = pytest.importorskip(
    "safetensors", reason="models are saved with safetensors, which is not installed"
)


def features(dtype=np.float64, n=120):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    image = rng.standard_normal((3, 20))[y] + 0.3 * rng.standard_normal((n, 20))
    text = rng.standard_normal((3, 10))[y] + 0.3 * rng.standard_normal((n, 10))
    return {"image": image.astype(dtype), "text": text.astype(dtype)}, y


def fit_amsh(n_anchors=None, dtype=np.float64, names=False, **parameters):
    x, y = features(dtype)
    y = np.array(["cat", "dog", "ibis"])[y] if names else y
    return fh.AMSH(16, n_anchors=n_anchors, **parameters).fit(x, {"image": y, "text": y})


MODELS = {
    "AMSH": lambda: fit_amsh(random_state=0),
    "AMSH, anchors, float32, names": lambda: fit_amsh(30, np.float32, names=True),
    "AMSH, given start": lambda: fit_amsh(
        init={name: np.random.default_rng(1).standard_normal((120, 16)) for name in features()[0]},
        random_state=np.random.RandomState(3),
    ),
    "CCAITQ": lambda: fh.CCAITQ(8, random_state=0).fit(features()[0]),
    "CMFH": lambda: models.CMFH(8, random_state=0).fit(features()[0]),
    "CVH": lambda: models.CVH(8, random_state=0).fit(features()[0]),
    "DCH": lambda: models.DCH(8, n_anchors=20, random_state=0).fit(
        features()[0], dict.fromkeys(features()[0], features()[1])
    ),
    "SCM": lambda: models.SCM(8, random_state=0).fit(
        features()[0], dict.fromkeys(features()[0], features()[1])
    ),
    "RREH": lambda: fh.RREH(8, random_state=0).fit(
        features()[0], pairs=np.stack([np.arange(0, 120, 2)] * 2, axis=1)
    ),
    "RREH, linear, float32": lambda: fh.RREH(8, kernel="linear", random_state=0).fit(
        features(np.float32)[0]
    ),
    "ITQ": lambda: fh.ITQ(8, random_state=0).fit(features()[0]["image"]),
    "RandomHyperplanes": lambda: fh.RandomHyperplanes(70).fit(features()[0]["image"]),
}


@pytest.fixture(scope="module")
def fitted():
    return {name: fit() for name, fit in MODELS.items()}


def codes_of(model):
    x, _ = features(np.float32)
    if hasattr(model, "modalities_"):
        return [model.encode(x[name], name) for name in model.modalities_]
    return [model.transform(x["image"])]


def assert_equal(a, b):
    """Equal as trees: arrays by value and dtype, everything else by type and value."""
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, tuple | list):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    elif isinstance(a, np.random.RandomState):
        assert_equal(a.get_state(), b.get_state())
    elif hasattr(a, "__dataclass_fields__"):
        assert type(a) is type(b)
        for name in a.__dataclass_fields__:
            assert_equal(getattr(a, name), getattr(b, name))
    else:
        assert a == b or (a != a and b != b)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_is_saved_comes_back(tmp_path, fitted, name):
    model = fitted[name]
    model.save(tmp_path / "x")
    for loaded in (fh.load(tmp_path / "x"), type(model).load(tmp_path / "x")):
        assert type(loaded) is type(model)
        assert_equal(model.get_params(), loaded.get_params())
        assert_equal(model._learned_state(), loaded._learned_state())
        for a, b in zip(codes_of(model), codes_of(loaded), strict=True):
            np.testing.assert_array_equal(a, b)
        loaded.save(tmp_path / "again")
    x, y = features()
    if isinstance(loaded, fh.AMSH):
        y = loaded.classes_[y]
        grown = [
            m.partial_fit({"text": x["text"]}, {"text": y})
            for m in (loaded, fh.load(tmp_path / "x"))
        ]
        assert_equal(grown[0].codes_, grown[1].codes_)
        assert len(grown[0].codes_["text"]) == 240


def test_a_file_without_what_updates_need(tmp_path, fitted):
    model, (x, y) = fit_amsh(100, random_state=0), features()
    model.save(tmp_path / "all")
    model.save(tmp_path / "less", updatable=False)
    assert (tmp_path / "less").stat().st_size < (tmp_path / "all").stat().st_size / 2
    loaded = fh.load(tmp_path / "less")
    assert loaded.fingerprint() == model.fingerprint()
    np.testing.assert_array_equal(loaded.encode(x["text"], "text"), model.encode(x["text"], "text"))
    with pytest.raises(ValueError, match="saved with updatable=False, so it cannot learn"):
        loaded.partial_fit({"text": x["text"]}, {"text": y})
    loaded.save(tmp_path / "again")
    assert_equal(fh.load(tmp_path / "again")._learned_state(), loaded._learned_state())
    # A new fit makes it whole.
    loaded.fit(x, dict.fromkeys(x, y)).partial_fit({"text": x["text"]}, {"text": y})
    with pytest.raises(TypeError, match="updatable must be True or False"):
        model.save(tmp_path / "x", updatable=1)


def test_every_model_can_be_saved():
    saved = {
        name
        for name in models.__all__
        if isinstance(getattr(models, name), type) and issubclass(getattr(models, name), SavedModel)
    }
    # One that needs more than the tests have brings its own test of saving.
    elsewhere = {"CrossModalHasher", "CLSR"}
    assert saved - elsewhere == {name.split(",")[0] for name in MODELS}


def test_no_learned_attribute_is_forgotten(fitted):
    for name, model in fitted.items():
        parameters = set(model.get_params())
        forgotten = set(vars(model)) - parameters - set(model._learned_state()) - {"_unfinished"}
        assert not forgotten, (name, forgotten)


def test_names_of_features_are_kept(tmp_path):
    model = fh.ITQ(8, random_state=0).fit(features()[0]["image"])
    # As scikit-learn sets them for a data frame.
    model.feature_names_in_ = np.array([f"x{i}" for i in range(20)], object)
    model.save(tmp_path / "x")
    assert_equal(fh.load(tmp_path / "x").feature_names_in_, model.feature_names_in_)


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(NotFittedError):
        fh.CCAITQ().save(tmp_path / "x")
    model = fh.RandomHyperplanes(8).fit(features()[0]["image"])
    model.random_state = object()
    with pytest.raises(TypeError, match=r"parameters.random_state is of type object"):
        model.save(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_kind_is_refused(tmp_path, fitted):
    fitted["ITQ"].save(tmp_path / "x")
    with pytest.raises(ValueError, match="holds 'ITQ', not 'AMSH'"):
        fh.AMSH.load(tmp_path / "x")


def test_without_safetensors_it_says_what_to_install(tmp_path, fitted, monkeypatch):
    fitted["ITQ"].save(tmp_path / "x")
    monkeypatch.setattr(saving, "find_spec", lambda name: None)
    for call in (lambda: fitted["ITQ"].save(tmp_path / "y"), lambda: fh.load(tmp_path / "x")):
        with pytest.raises(ImportError, match=r"pip install 'fasthash-retrieval\[models\]'"):
            call()


def rewrite(path, change):
    """Change the tree and the arrays of a model file, and make its checksums right again."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name).copy() for name in file.keys()}
    tree = json.loads(metadata["content"])
    change(tree, arrays)
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict) and "array" in node and node["array"] in arrays:
            array = arrays[node["array"]]
            checksum = zlib.crc32(array.reshape(-1).view(np.uint8))
            node.update(dtype=array.dtype.name, shape=list(array.shape), crc32=checksum)
        stack += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    text = json.dumps(tree)
    checksum = f"{zlib.crc32(text.encode()):08x}"
    save_file(arrays, path, {**metadata, "content": text, "crc32": checksum})


def learned(tree, *path):
    node = tree["learned"]["mapping"]
    for name in path:
        node = node[name]
        node = node.get("mapping", node.get("fields", node))
    return node


WRONG = {
    "unknown kind": lambda tree, arrays: tree.update(model="BaseEstimator"),
    "base": lambda tree, arrays: tree.update(model="CrossModalHasher"),
    "no kind": lambda tree, arrays: tree.pop("model"),
    "no learned": lambda tree, arrays: tree.pop("learned"),
    "parameter": lambda tree, arrays: tree["parameters"]["mapping"].update(further=1),
    "part": lambda tree, arrays: learned(tree)["codes_"].update(mapping={"x": {"part": "Popen"}}),
    "code": lambda tree, arrays: tree.update(learned={"part": "Popen", "fields": {"args": "id"}}),
    "missing": lambda tree, arrays: learned(tree).pop("projections_"),
    "modality": lambda tree, arrays: learned(tree, "projections_").pop("text"),
    "node": lambda tree, arrays: learned(tree).update(codes_={"pickle": "gASV"}),
    "no array": lambda tree, arrays: arrays.pop("learned.projections_.text"),
    "map": lambda tree, arrays: learned(tree, "feature_maps_").update(text=1),
    "nesting": lambda tree, arrays: tree.update(learned=json.loads("[" * 900 + "]" * 900)),
    "classes": lambda tree, arrays: learned(tree).update(classes_=10**6),
    "no classes": lambda tree, arrays: learned(tree).update(classes_=None),
    "strings": lambda tree, arrays: learned(tree).update(
        classes_={"strings": ["a" * 10**6, *("" for _ in range(10**4))], "dtype": "str"}
    ),
}
SHAPES = {
    "projection": ("learned.projections_.text", (slice(None, -1),)),
    "mean": ("learned.feature_maps_.text.mean", (slice(None, -1),)),
    "anchors": ("learned.feature_maps_.text.anchors", (slice(None), slice(None, -1))),
    "codes": ("learned.codes_.text", (slice(None), slice(None, -1))),
    "p": ("learned._states.text.rule.p", (slice(None, -1),)),
    "votes": ("learned._states.text.rule.b_votes", (slice(None), slice(None, -1))),
    "whitening": ("learned._states.text.rule.whitening.matrix", (slice(None, -1),)),
    "gram": ("learned._states.text.gram", (slice(None, -1),)),
    "dimensions": ("learned._states.text.regression.projection", (0,)),
}


@pytest.mark.parametrize("wrong", sorted([*WRONG, *SHAPES]))
def test_a_file_that_nobody_saved_is_refused(tmp_path, fitted, wrong):
    def shape(tree, arrays):
        name, where = SHAPES[wrong]
        arrays[name] = np.ascontiguousarray(arrays[name][where])

    fitted["AMSH, anchors, float32, names"].save(tmp_path / "x")
    rewrite(tmp_path / "x", WRONG.get(wrong, shape))
    with pytest.raises(ValueError, match=r"is damaged|which this version does not know"):
        fh.load(tmp_path / "x")


def test_arrays_of_another_type_are_refused(tmp_path, fitted):
    def as_float32(tree, arrays):
        name = "learned._states.text.rule.p"
        arrays[name] = arrays[name].astype(np.float32)

    fitted["AMSH"].save(tmp_path / "x")
    rewrite(tmp_path / "x", as_float32)
    with pytest.raises(ValueError, match="p must be float64"):
        fh.load(tmp_path / "x")


def test_a_model_elsewhere_joins_by_naming_its_arrays(tmp_path):
    """What a model on other arrays than numpy's does: give arrays, take arrays."""
    from sklearn.base import BaseEstimator

    class Foreign(SavedModel, BaseEstimator):
        def __init__(self, depth=2):
            self.depth = depth

        def fit(self):
            self.layers_ = [memoryview(np.full(3, i, np.float32)) for i in range(self.depth)]
            return self

        def _learned_state(self):
            return {"layers": {str(i): np.asarray(x) for i, x in enumerate(self.layers_)}}

        def _set_learned_state(self, learned):
            self.layers_ = [memoryview(x) for x in learned["layers"].values()]

    Foreign(depth=3).fit().save(tmp_path / "x")
    loaded = fh.load(tmp_path / "x")
    assert loaded.depth == 3 and [x[0] for x in loaded.layers_] == [0, 1, 2]


def test_a_file_is_loaded_where_no_model_has_been_imported(tmp_path, fitted):
    """Importing the models is cheap, and a file brings in the class that it needs."""
    fitted["CCAITQ"].save(tmp_path / "x")
    program = (
        "import sys, fasthash as fh, fasthash.models as models\n"
        "assert 'sklearn' not in sys.modules and set(models.MODULES) == set(models.__all__)\n"
        f"model = models.CrossModalHasher.load({str(tmp_path / 'x')!r})\n"
        "assert type(model) is fh.CCAITQ\n"
        "assert all(hasattr(models, name) for name in models.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
