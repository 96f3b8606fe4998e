"""Names of the columns of data frames: kept by a fit, and compared with those of later samples."""

import warnings

import numpy as np
import pytest
from estimators import every_method, every_transformer, fit, frames, make, make_model

import fasthash as fh

pd = pytest.importorskip("pandas", reason="column names come from pandas, which is not installed")


@every_method
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_of_data_frames_are_kept_and_checked(method, library):
    x, y = make()
    named = frames(x, library)
    model = fit(make_model(method), named, y)
    plain = fit(make_model(method), x, y)
    assert model.n_features_in_ == {"image": 12, "text": 9}
    for name in x:
        assert model.feature_names_in_[name].tolist() == list(named[name].columns)
        assert model.feature_names_in_[name].dtype == object
        np.testing.assert_array_equal(model.codes_[name], plain.codes_[name])
    assert not hasattr(plain, "feature_names_in_")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codes = model.encode(named["text"], "text")
    np.testing.assert_array_equal(codes, plain.encode(x["text"], "text"))

    columns = list(named["text"].columns)
    swapped = named["text"][[columns[1], columns[0], *columns[2:]]]
    with pytest.raises(ValueError, match="in another order: column 0 is 't1', in the fit it was"):
        model.encode(swapped, "text")
    with pytest.raises(ValueError, match="X lacks the columns 't0', 't1'; pass the columns that"):
        model.encode(named["text"][columns[2:]], "text")
    other = frames({"image": x["text"], "text": x["text"]}, library)["image"]
    with pytest.raises(ValueError, match=r"lacks .* and 4 more and has the columns 'i0', "):
        model.encode(other, "text")
    with pytest.warns(UserWarning, match="X has no column names, but the features of the fit had"):
        np.testing.assert_array_equal(model.encode(x["text"], "text"), codes)
    with pytest.warns(UserWarning, match="X has column names, but the features of the fit had no"):
        plain.encode(named["text"], "text")


def test_names_of_one_modality_only():
    x, _ = make()
    model = fh.CCAITQ(8, random_state=0).fit({"image": frames(x)["image"], "text": x["text"]})
    assert list(model.feature_names_in_) == ["image"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode(x["text"], "text")
    model.fit(x)
    assert not hasattr(model, "feature_names_in_")


def test_numbers_are_no_names():
    x, _ = make()
    model = fh.CCAITQ(8, random_state=0).fit({name: pd.DataFrame(v) for name, v in x.items()})
    assert not hasattr(model, "feature_names_in_")


def test_names_of_which_some_are_numbers_are_refused():
    x, _ = make()
    x["text"] = pd.DataFrame(x["text"], columns=["a", *range(8)])
    with pytest.raises(TypeError, match=r"^features\['text'\]: Feature names are only supported"):
        fh.CCAITQ(8).fit(x)


def test_names_that_repeat_are_refused():
    x, _ = make()
    x["text"] = pd.DataFrame(x["text"], columns=list("abacdefgh"))
    with pytest.raises(ValueError, match=r"^features\['text'\].*'a'.* a name of its own"):
        fh.CCAITQ(8).fit(x)


@every_method
def test_names_are_saved_and_checked_after_loading(method, tmp_path):
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    x, y = make()
    named = frames(x)
    model = fit(make_model(method), named, y)
    model.save(tmp_path / "x")
    loaded = fh.load(tmp_path / "x")
    for name in x:
        np.testing.assert_array_equal(loaded.feature_names_in_[name], model.feature_names_in_[name])
    with pytest.raises(ValueError, match="lacks the columns 't8'"):
        loaded.encode(named["text"].drop(columns="t8"), "text")


def test_new_samples_must_have_the_columns_too():
    x, y = make()
    named = frames(x)
    model = fit(make_model("AMSH"), named, y)
    with pytest.raises(
        ValueError, match=r"features\['text'\] has the columns of the fit in another"
    ):
        model.partial_fit({"text": named["text"][list(named["text"])[::-1]]}, {"text": y})
    assert len(model.codes_["text"]) == 80
    model.partial_fit({"text": named["text"]}, {"text": y})
    assert len(model.codes_["text"]) == 160


def test_validation_samples_must_have_the_columns_too():
    pytest.importorskip("torch", reason="CLSR trains with PyTorch, which is not installed")
    x, _ = make()
    named = frames(x)
    held_out = {"image": named["image"], "text": named["text"].iloc[:, ::-1]}
    with pytest.raises(
        ValueError, match=r"validation\[0\]\['text'\] has the columns of the fit in"
    ):
        make_model("CLSR").fit(named, validation=(held_out, None))


@every_transformer
def test_transformers_have_output_names(model):
    x, _ = make()
    fitted = model(n_bits=9, random_state=0).set_output(transform="pandas").fit(x["image"])
    out = fitted.transform(x["image"])
    prefix = model.__name__.lower()
    assert list(out.columns) == [f"{prefix}0", f"{prefix}1"] == list(fitted.get_feature_names_out())
    assert (out.dtypes == np.uint8).all()
    np.testing.assert_array_equal(out, fitted.set_output(transform="default").transform(x["image"]))
