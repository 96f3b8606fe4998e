"""What all models share: keywords, progress, tags, parameters, the first partial fit."""

import inspect
import re

import numpy as np
import pytest
from estimators import every_method, every_transformer, fit, make, make_model
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

import fasthash as fh
from fasthash.experiments import learns_from
from fasthash.models import _progress
from fasthash.models._progress import Progress

# Methods in which nothing is random.
WITHOUT_CHANCE = {"CVH", "SCM"}

# --- keywords and progress ----------------------------------------------------------------------


def public_calls():
    for name in fh.models.__all__:
        value = getattr(fh.models, name)
        calls = ("fit", "fit_lengths", "partial_fit", "encode", "transform", "project", "search")
        if not isinstance(value, type):
            yield name, value
        for call in calls:
            if hasattr(value, call):
                yield f"{name}.{call}", getattr(value, call)


@pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in public_calls()])
def test_every_long_call_takes_the_same_keywords(call):
    parameters = inspect.signature(call).parameters
    for keyword, default in (("n_threads", None), ("callback", None), ("verbose", False)):
        assert parameters[keyword].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[keyword].default is default
    assert list(parameters)[-3:] == ["n_threads", "callback", "verbose"]


@every_method
def test_callbacks_count_to_the_end_and_change_nothing(method):
    x, y = make()
    events = []
    told = fit(make_model(method), x, y, callback=lambda *event: events.append(event))
    plain = fit(make_model(method), x, y, n_threads=1)
    for name in x:
        np.testing.assert_array_equal(told.codes_[name], plain.codes_[name])
    last = {stage: (done, total) for stage, done, total in events}
    assert len(last) >= 2
    assert all(0 < done <= total for _, done, total in events)
    encoded = []
    told.encode(x["text"], "text", callback=lambda *event: encoded.append(event))
    assert encoded[-1] == ("encode", 80, 80)


@every_method
def test_what_a_callback_raises_leaves_the_model_as_it_was(method):
    x, y = make()

    class StopError(Exception):
        pass

    def stop(stage, done, total):
        raise StopError

    model = make_model(method)
    with pytest.raises(StopError):
        fit(model, x, y, callback=stop)
    with pytest.raises(NotFittedError):
        model.encode(x["text"], "text")


@every_transformer
def test_transformers_report_too(model):
    x, _ = make()
    events = []
    fitted = model(n_bits=4, random_state=0).fit(
        x["image"], callback=lambda *event: events.append(event), n_threads=1
    )
    assert events and all(done <= total for _, done, total in events)
    fitted.transform(x["image"], callback=lambda *event: events.append(event))
    assert events[-1] == ("transform", 80, 80)


def test_progress_is_printed_without_tqdm(capsys, monkeypatch):
    monkeypatch.setattr(_progress, "find_spec", lambda name: None)
    with Progress(None, True) as report:
        for done in range(1, 1001):
            report("codes", done, 1000)
        report("rows", 5, 5, "loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "codes: 1 of 1000" and "codes: 1000 of 1000" in lines
    assert lines[-1] == "rows: 5 of 5  loss 0.5"
    # A line a second at most, between the first and the last of a stage.
    assert len(lines) <= 6


def test_progress_is_drawn_with_tqdm(capsys, monkeypatch):
    pytest.importorskip("tqdm", reason="bars are drawn by tqdm, which is not installed")
    x, _ = make()
    fh.CCAITQ(8, random_state=0).fit(x, verbose=True)
    # Lines of text, unless a terminal shows the bars.
    assert "\r" not in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fh.CCAITQ(8, random_state=0).fit(x, verbose=True)
    shown = capsys.readouterr().err
    assert "\r" in shown and "rotation" in shown and "codes of text" in shown and "50/50" in shown


def test_progress_is_silent_unless_asked_for(capsys):
    x, _ = make()
    fh.CCAITQ(8, random_state=0).fit(x)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"callback": 3},
            r"callback must be a function that takes \(stage, done, total\), got int",
        ),
        ({"verbose": 1}, "verbose must be True or False, got 1"),
    ],
)
def test_unsuitable_progress_is_refused(options, message):
    with pytest.raises(TypeError, match=message):
        fh.CCAITQ(8).fit(make()[0], **options)


# --- partial_fit, tags, parameters --------------------------------------------------------------


def test_partial_fit_without_a_fit_is_the_first_one():
    x, y = make()
    labels = dict.fromkeys(x, y)
    started = make_model("AMSH").partial_fit(x, labels)
    fitted = make_model("AMSH").fit(x, labels)
    for name in x:
        np.testing.assert_array_equal(started.codes_[name], fitted.codes_[name])
        np.testing.assert_array_equal(started.projections_[name], fitted.projections_[name])
    new = {"text": x["text"][:5]}
    for model in (started, fitted):
        model.partial_fit(new, {"text": y[:5]})
    np.testing.assert_array_equal(started.codes_["text"], fitted.codes_["text"])
    with pytest.raises(ValueError, match="at least 2 modalities"):
        make_model("AMSH").partial_fit({"text": x["text"]}, {"text": y})


@every_method
def test_tags_say_what_is_true(method):
    model = make_model(method)
    tags = get_tags(model)
    assert tags.input_tags.dict and tags.input_tags.sparse and not tags.input_tags.two_d_array
    assert not tags.input_tags.allow_nan and tags.requires_fit
    assert tags.target_tags.required == learns_from(model, "labels")
    # scikit-learn's checks pass arrays, where these models take mappings of arrays.
    assert tags._skip_test


@every_transformer
def test_tags_of_transformers(model):
    tags = get_tags(model())
    assert tags.input_tags.sparse and tags.input_tags.two_d_array and not tags._skip_test
    assert tags.transformer_tags.preserves_dtype == []


@every_method
def test_a_fit_leaves_parameters_and_generator_rules(method):
    x, y = make()
    model = make_model(method)
    before = model.get_params()
    fit(model, x, y)
    assert model.get_params() == before == clone(model).get_params()
    other = fit(make_model(method, random_state=1), x, y)
    assert method in WITHOUT_CHANCE or any(
        (other.codes_[name] != model.codes_[name]).any() for name in x
    )
    again = fit(make_model(method, random_state=np.random.RandomState(0)), x, y)
    assert all(again.codes_[name].shape == model.codes_[name].shape for name in x)


def test_messages_of_modalities():
    x, _ = make()
    model = fh.CCAITQ(8, random_state=0).fit(x)
    with pytest.raises(ValueError, match=re.escape("modality must be one of 'image', 'text'")):
        model.encode(x["text"], "sound")
