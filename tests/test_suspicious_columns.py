"""Columns that ruin a fit, or say nothing, are warned about by every method, with their names."""

import warnings

import numpy as np
import pytest
from estimators import every_method, fit, make, make_model
from scipy import sparse
from sklearn.datasets import load_digits, load_wine

import fasthash as fh
from fasthash._core.features import unit_rows
from fasthash._core.rows import Rows
from fasthash._core.suspicious_columns import refuse_vanishing, warn_of_columns, warn_of_signs
from fasthash.datasets import Part, load_emoji
from fasthash.embeddings import codes_of_signs
from fasthash.experiments import Metric, compare
from fasthash.models import select_by_pairs
from fasthash.models._preprocessing import kinds_of, warn_for_models


def said(function, *args, **options):
    """The warnings of a call, and the files whose lines they name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args, **options)
    return [str(w.message) for w in caught], {w.filename for w in caught}


def about(x, **options):
    return said(warn_of_columns, Rows(x, np.float64), "x", "scale them", **options)[0]


@every_method
def test_every_method_names_a_column_that_dominates_and_one_without_variance(method):
    x, y = make()
    x["text"][:, 2] *= 1000
    x["text"][:, 4] = 7
    messages, files = said(fit, make_model(method), x, y)
    assert files == {__file__} or files <= {__file__, fit.__code__.co_filename}
    constant = [m for m in messages if "1 of 9 columns that hold one value" in m]
    assert len(constant) == 1 and "(4)" in constant[0] and "features['text']" in constant[0]
    dominating = [m for m in messages if "1 of 9 columns with 100.0% of the variance (2)" in m]
    if method == "CLSR":
        # It standardises by default.
        assert not dominating
    else:
        assert len(dominating) == 1
        assert "pass preprocessing={'text': \"standardise\"}" in dominating[0]


@every_method
@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e-18), (np.float64, 1e-75)])
def test_every_method_refuses_features_whose_products_vanish(method, dtype, scale):
    x, y = make()
    x["text"] = (x["text"] * scale).astype(dtype)
    with pytest.raises(ValueError, match=r"features\['text'\] holds no value above .*scale them"):
        fit(make_model(method), x, y)


@pytest.mark.parametrize("scale", [1e-60, 1e60])
@pytest.mark.parametrize("method", ["CCAITQ", "RREH", "AMSH", "SCM"])
def test_float64_of_any_size_that_passes_gives_the_same_codes(method, scale):
    x, y = make()
    model = fit(make_model(method), x, y)
    scaled = fit(make_model(method), {name: values * scale for name, values in x.items()}, y)
    for name in x:
        np.testing.assert_array_equal(scaled.codes_[name], model.codes_[name])


def test_one_large_row_among_small_ones_is_enough():
    x = np.full((5000, 3), 1e-30, np.float32) * np.arange(1, 4, dtype=np.float32)
    with pytest.raises(ValueError, match="x holds no value above 3e-30 in size"):
        refuse_vanishing(Rows(x, np.float32), "x")
    x[4321, 1] = -2e-15
    refuse_vanishing(Rows(x, np.float32), "x")
    refuse_vanishing(Rows(np.zeros((2, 2), np.float32), np.float32), "x")
    with pytest.raises(ValueError, match="X holds no value above 3e-30"):
        fh.ITQ(2).fit(x[:50])
    # Hyperplanes multiply no features with each other.
    fh.RandomHyperplanes(2).fit(x[:50])
    with pytest.raises(ValueError, match=r"samples\['text'\] holds no value above 3e-30"):
        fh.retrieval_scores({"image": x[:2] * np.float32(1e30), "text": x[:2]})


@pytest.mark.parametrize(("dtype", "smallest"), [(np.float32, 1e-44), (np.float64, 1e-322)])
def test_the_length_of_a_row_does_not_change_its_direction(dtype, smallest):
    x = np.array([[3, -4], [0, 0], [1, 1]], dtype)
    expected = [[0.6, -0.8], [0, 0], [0.5**0.5, 0.5**0.5]]
    for size in (1, 1e-10, 1e-19, 1e-30):
        np.testing.assert_allclose(unit_rows(x * dtype(size)), expected, rtol=1e-6)
    np.testing.assert_allclose(unit_rows(np.array([[smallest, 0]], dtype)), [[1, 0]])


def test_the_remedy_ends_the_warning():
    x, y = make()
    x["text"][:, 2] *= 1000
    assert len(said(fit, make_model("AMSH"), x, y)[0]) == 1
    model = make_model("AMSH").set_params(preprocessing={"text": "standardise"})
    assert said(fit, model, x, y)[0] == []


@pytest.mark.parametrize("model", [fh.ITQ(8), fh.RandomHyperplanes(8)])
def test_transformers_name_the_columns_of_a_data_frame(model):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    x = np.random.default_rng(0).standard_normal((90, 6))
    x[:, 1], x[:, 5] = 1e4 * x[:, 1], 3
    messages, files = said(model.fit, pandas.DataFrame(x, columns=list("abcdef")))
    assert len(messages) == 2 and files == {__file__}
    assert "X has 1 of 6 columns that hold one value in all 90 rows ('f')" in messages[0]
    assert "('b'): the model sees little else" in messages[1] and "StandardScaler" in messages[1]


def test_which_columns_dominate():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 40))
    assert about(x) == [] and about(x[:, :1]) == [] and about(x[:1]) == []
    # Spectra that fall off, as principal components have.
    assert about(x / np.arange(1, 41)) == []
    several = x.copy()
    several[:, [3, 9]] *= (300, 1000)
    assert "2 of 40 columns with 100.0% of the variance (9, 3)" in about(several)[0]
    assert about(several, is_scaled=True) == []
    assert "1 of 2 columns with" in about(x[:, :2] * (1, 1000))[0]
    # A large mean is no variance.
    assert about(x + 1e6 * (np.arange(40) == 3)) == []


def test_a_column_is_constant_only_if_no_row_says_otherwise():
    """About 4,096 rows are looked at first; the only other value may be in another row."""
    x = np.random.default_rng(0).standard_normal((20_000, 5))
    x[:, 2] = 5.0
    assert "1 of 5 columns that hold one value in all 20000 rows (2)" in about(x)[0]
    x[17_777, 2] = 5.1
    assert about(x) == []
    # A vocabulary may have words that no text has.
    rare = sparse.random_array((20_000, 30), density=1e-3, rng=np.random.default_rng(0)).tolil()
    rare[:, 4] = 0
    assert about(rare.tocsr()) == []
    rare[:, 5] = 100 * np.arange(20_000)[:, None]
    assert "1 of 30 columns with 100.0% of the variance (5)" in about(rare.tocsr())[0]


def test_what_people_have():
    emoji = load_emoji()
    for x in emoji.features.values():
        assert about(x) == []
    assert "3 of 64 columns that hold one value" in about(load_digits().data)[0]
    assert "1 of 13 columns with 99.8% of the variance (12)" in about(load_wine().data)[0]


def test_a_choice_among_settings_warns_once():
    x = np.random.default_rng(0).standard_normal((80, 6))
    x[:, 1] *= 1e4
    messages, _ = said(
        select_by_pairs,
        [fh.CCAITQ(4, ridge=ridge, random_state=0) for ridge in (0.1, 1.0)],
        {"image": x, "text": x[:, ::-1]},
        random_state=0,
    )
    assert len(messages) == 2
    part = Part({"image": x, "text": x[:, ::-1]}, np.arange(80) % 4)
    models = {"CCAITQ": fh.CCAITQ()}
    measured = {"n_bits": [4], "seeds": [0, 1], "metrics": [Metric("map")]}
    messages, _ = said(compare, models, part, part, **measured)
    assert [m.split(" has ")[0] for m in messages] == [
        "train.features['image']",
        "train.features['text']",
    ]


def test_a_modality_without_a_choice_has_the_default_of_the_method():
    """CLSR whitens what a mapping leaves out, which scales the column; CCAITQ does not."""
    x = np.random.default_rng(0).standard_normal((80, 6))
    x[:, 1] *= 1e4
    features = {"image": Rows(x, x.dtype), "text": Rows(x[:, ::-1], x.dtype)}
    for method, named in ((fh.CLSR, []), (fh.CCAITQ, ["features['image']"])):
        model = method(preprocessing={"text": "whiten"})
        for function, *arguments in (
            (warn_for_models, [model], features, "features[{!r}]"),
            (kinds_of, model, features),
        ):
            messages, _ = said(function, *arguments)
            assert [m.split(" has ")[0] for m in messages] == named


def test_features_that_hardly_change_their_sign():
    x = np.random.default_rng(0).standard_normal((400, 20))
    x[:, 6], x[:, 9] = np.abs(x[:, 6]), 2.4 + x[:, 9]
    messages, files = said(codes_of_signs, x)
    assert len(messages) == 1 and files == {__file__}
    assert "2 of 20 features of x have the same sign in at least 99%" in messages[0]
    assert "(6, 9)" in messages[0] and "centre=" in messages[0]
    assert said(codes_of_signs, x, centre=True)[0] == []
    assert said(warn_of_signs, np.array([98, 2]), 100, "x")[0] == []
    assert said(warn_of_signs, np.array([99, 50]), 99, "x")[0] == []
