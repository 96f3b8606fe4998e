"""Rows of features that hold only zeros are warned about, by every method and on every way in."""

import json
import subprocess
import warnings

import numpy as np
from estimators import every_method, every_transformer, fit, make, make_model
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse

import fasthash as fh
from command_line import PROGRAM
from fasthash._core.pieces import smaller_pieces
from fasthash._core.rows import Rows
from fasthash._core.suspicious import without_warnings
from fasthash.datasets import Part
from fasthash.experiments import Metric, compare, recall_of_codes

ZERO = "has 2 of 80 rows that hold only zeros"


def make_with_zeros(rows=(3, 7)):
    x, y = make()
    x["text"][list(rows)] = 0
    return x, y


def said(function, *args, **options):
    """The warnings of a call, and the files whose lines they name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args, **options)
    return [str(w.message) for w in caught], {w.filename for w in caught}


@every_method
def test_models_warn_at_fit_and_for_queries_of_the_callers_line(method):
    x, y = make_with_zeros()
    messages, files = said(fit, make_model(method), x, y)
    (message,) = messages
    assert message.startswith(f"features['text'] {ZERO} (3, 7). ")
    # The helper of the tests makes the call.
    assert {f.rpartition("/")[2] for f in files} == {"estimators.py"}
    model = fit(make_model(method), make()[0], y)
    ways = {
        "encode": lambda x: model.encode(x, "text"),
        "project": lambda x: model.project(x, "text"),
        "search": lambda x: model.search(x, "text", model.codes_["image"], 3),
    }
    if method == "CLSR":
        latents = model.transform(make()[0]["image"], "image")
        ways["transform"] = lambda x: model.transform(x, "text")
        ways["search by latents"] = lambda x: model.search(
            x, "text", model.codes_["image"], 3, latents=latents
        )
    for given_x in (x["text"], sparse.csr_array(x["text"]), x["text"].astype(np.float32)):
        for name, way in ways.items():
            messages, files = said(way, given_x)
            assert messages and all(m.startswith(f"X {ZERO} (3, 7).") for m in messages[:1]), name
            assert files == {__file__}


@every_transformer
def test_transformers_warn(model):
    x, _ = make_with_zeros()
    (message,), files = said(model(8, random_state=0).fit, x["text"])
    assert message.startswith(f"X {ZERO}") and files == {__file__}
    fitted = model(8, random_state=0).fit(make()[0]["text"])
    assert said(fitted.transform, x["text"]) == ([message], {__file__})
    assert said(fitted.project, x["text"]) == ([message], {__file__})


def test_functions_of_embeddings_and_latents_warn():
    x, _ = make_with_zeros()
    x = x["text"]
    good = make()[0]["text"]
    for function, argument in (
        (lambda: fh.embeddings.codes_of_signs(x), "x"),
        (lambda: fh.embeddings.nearest(x, good, 2), "queries"),
        (lambda: fh.embeddings.nearest(good, x, 2), "vectors"),
        (lambda: fh.rerank(x, good, np.zeros((80, 1), int), 1), "queries"),
        (lambda: fh.retrieval_scores({"a": x, "b": good}), "samples['a']"),
        (lambda: recall_of_codes(x, good[:5], k=2, n_bits=[4]), "vectors"),
        (lambda: recall_of_codes(good, x, k=2, n_bits=[4], methods=["itq"]), "queries"),
    ):
        messages, files = said(function)
        assert [m.split(" has ")[0] for m in messages] == [argument]
        assert files == {__file__}


def test_parts_of_checked_samples_are_not_counted_again():
    x, y = make_with_zeros()
    train = Part(x, y)
    test = Part({name: values[10:20] for name, values in make()[0].items()}, y[10:20])
    models = {"CCAITQ": fh.CCAITQ(random_state=0)}
    options = {"n_bits": [4, 8], "seeds": [0, 1], "metrics": [Metric("map")]}
    for pairs in ("all", "keep"):
        messages, _ = said(compare, models, train, test, pairs=pairs, share=0.5, **options)
        assert [m.split(" has ")[0] for m in messages] == ["train.features['text']"]
    models = [fh.CCAITQ(8, random_state=0), fh.CCAITQ(4, random_state=0)]
    messages, _ = said(fh.models.select_by_pairs, models, x, random_state=0)
    assert [m.split(" has ")[0] for m in messages] == ["features['text']"]


def test_partial_fits_warn():
    x, y = make_with_zeros()
    model = fit(make_model("AMSH"), make()[0], y)
    messages, _ = said(model.partial_fit, x, dict.fromkeys(x, y))
    assert [m.split(" has ")[0] for m in messages] == ["features['text']"]


def test_what_is_no_zero_row_is_not_warned_about():
    assert said(fh.RandomHyperplanes(8).fit, np.arange(20.0)[:, None])[0] == []
    tiny = np.zeros((4, 5))
    tiny[:, 4] = 1e-300
    assert said(fh.RandomHyperplanes(8).fit, tiny)[0] == []
    with without_warnings():
        assert said(fh.RandomHyperplanes(8).fit, np.eye(4)[:3, 1:])[0] == []
    messages, _ = said(fh.RandomHyperplanes(8).fit, np.eye(4)[:3, 1:])
    assert sum("hold only zeros" in message for message in messages) == 1


@given(
    arrays.arrays(
        np.float64,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.sampled_from([0.0, 0.0, 0.0, -0.0, 1.0, -2.0]),
    ),
    st.sampled_from(["C", "F", "csr", "stored zeros"]),
    st.integers(1, 30),
)
def test_zero_rows_are_those_without_a_value(x, form, piece):
    source = x.copy(order=form) if form in ("C", "F") else sparse.csr_array(x)
    if form == "stored zeros":
        dense = sparse.csr_array(np.ones(x.shape))
        dense.data = x.ravel().copy()
        source = dense
    with smaller_pieces(piece):
        unusable, zero_rows = Rows(source, np.float64).inspect(1e15)
    assert unusable is None
    np.testing.assert_array_equal(zero_rows, np.flatnonzero(~x.any(axis=1)))


def run(*arguments, typed=None):
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], capture_output=True, text=True, input=typed, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_commands_print_the_warning_as_a_note(tmp_path):
    x, _ = make_with_zeros()
    for name, values in x.items():
        np.save(tmp_path / f"{name}.npy", values)
    features = [f"{name}={tmp_path / name}.npy" for name in x]
    model, text = tmp_path / "m.model", tmp_path / "text.npy"
    status, _, notes = run(
        *("fit", "--method", "CCAITQ", "--bits", 8, "--output", model, "--features", *features)
    )
    assert (status, notes.count("\n")) == (0, 1)
    assert notes.startswith(f"warning: features['text'] {ZERO} (3, 7).")
    codes = tmp_path / "codes.npy"
    encoding = ("--model", model, "--modality", "text", "--features", text)
    for arguments in (
        ("encode", *encoding, "--output", codes),
        ("encode", "--method", "sign", "--features", text, "--output", tmp_path / "signs.npy"),
        ("index", "build", tmp_path / "text.index", *encoding),
    ):
        status, _, notes = run(*arguments)
        assert status == 0 and notes.lower().startswith("warning: x has 2 of 80"), notes
    assert run("encode", *encoding, "--output", codes, "--force", "--quiet")[2] == ""

    # Queries are named by their numbers, of whichever block.
    search = ("search", tmp_path / "text.index", "--model", model, "--modality", "text", "-k", 1)
    status, answers, notes = run(*search, "--features", text, "--rows", "5:9")
    assert status == 0 and answers.count("query") == 4
    notes = [line for line in notes.splitlines() if "zero" in line]
    assert len(notes) == 1 and notes[0].startswith("warning: all features of query 7 are zero")
    lines = "".join(json.dumps(row) + "\n" for row in x["text"][1:5].tolist())
    _, _, notes = run(*search, "--features", "-", typed=lines)
    assert "all features of query 2 are zero" in notes
