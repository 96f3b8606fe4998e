"""CLSR in files: what is loaded searches as what was saved, and what is damaged is refused."""

import numpy as np
import pytest

import fasthash as fh
from clips import assert_same_model, fit, make_clips
from test_saving import learned, rewrite

torch = pytest.importorskip("torch", reason="CLSR trains with PyTorch: pip install '.[clsr]'")


@pytest.fixture(scope="module")
def model():
    views, pairs = make_clips(n=60)
    weights = {"reconstruction_in_latents": 0.5, "variates_in_latents": 0.5}
    return fit(views, pairs, validation=0.2, parameters={"n_bits": 24, "n_epochs": 2, **weights})


def test_a_map_without_variates_is_written_as_before_there_were_any(tmp_path):
    """So its fingerprint, which indexes keep, has not changed, and old files are read."""
    views, pairs = make_clips(n=60)
    model = fit(views, pairs, parameters={"n_epochs": 1, "variates_in_latents": 0})
    model.save(tmp_path / "x")
    fields = []
    rewrite(
        tmp_path / "x",
        lambda tree, _: fields.extend(learned(tree, "feature_maps_", "text")),
    )
    assert fields == ["preprocessing", "head", "reconstruction", "mean"]
    assert_same_model(model, fh.load(tmp_path / "x"))


def test_what_is_saved_comes_back(tmp_path, model):
    model.save(tmp_path / "x")
    loaded = fh.load(tmp_path / "x")
    assert type(loaded) is fh.CLSR and loaded.get_params() == model.get_params()
    assert_same_model(model, loaded)
    views, _ = make_clips(n=30, seed=1)
    for name, x in views.items():
        np.testing.assert_array_equal(loaded.transform(x, name), model.transform(x, name))
        np.testing.assert_array_equal(loaded.encode(x, name), model.encode(x, name))


def test_no_learned_attribute_is_forgotten(model):
    assert set(vars(model)) - set(model.get_params()) == set(model._learned_state())


LAYERS = "learned.feature_maps_.text.head.layers"
SHAPES = {
    "weight": (f"{LAYERS}.0.0", (slice(None, -1),)),
    "bias": (f"{LAYERS}.0.1", (slice(None, -1),)),
    "latents": (f"{LAYERS}.1.0", (slice(None), slice(None, -1))),
    "decoder": (
        "learned.feature_maps_.text.reconstruction.decoder.layers.1.0",
        (slice(None), slice(None, -1)),
    ),
    "decoded": ("learned.feature_maps_.text.reconstruction.mean", (slice(None, -1),)),
    "variates": (
        "learned.feature_maps_.text.variates.head.layers.0.0",
        (slice(None), slice(None, -1)),
    ),
    "mean": ("learned.feature_maps_.text.mean", (slice(None, -1),)),
    "scale": ("learned.feature_maps_.text.preprocessing.scale", (slice(None, -1),)),
    "components": ("learned.feature_maps_.text.preprocessing.components", (0,)),
    "projection": ("learned.projections_.text", (slice(None, -1),)),
    "codes": ("learned.codes_.text", (slice(None), slice(None, -1))),
}
WRONG = {
    "map": lambda tree, arrays: learned(tree, "feature_maps_").update(text=1),
    "head": lambda tree, arrays: learned(tree, "feature_maps_", "text").update(head=None),
    "weight": lambda tree, arrays: learned(tree, "feature_maps_", "text", "reconstruction").update(
        weight=-1.0
    ),
    "history": lambda tree, arrays: learned(tree).update(history_=[1]),
}


@pytest.mark.parametrize("wrong", sorted([*WRONG, *SHAPES]))
def test_a_file_that_nobody_saved_is_refused(tmp_path, model, wrong):
    def shape(tree, arrays):
        name, where = SHAPES[wrong]
        arrays[name] = np.ascontiguousarray(arrays[name][where])

    model.save(tmp_path / "x")
    rewrite(tmp_path / "x", WRONG.get(wrong, shape))
    with pytest.raises(ValueError, match="is damaged"):
        fh.load(tmp_path / "x")


def test_a_module_of_the_caller_is_no_part_of_a_file(tmp_path):
    views, pairs = make_clips(n=60)
    encoders = {"text": torch.nn.Linear(15, 32)}
    fitted = fit(views, pairs, parameters={"encoders": encoders, "n_epochs": 1})
    with pytest.raises(TypeError, match=r"encoders.text is of type Linear"):
        fitted.save(tmp_path / "x")
