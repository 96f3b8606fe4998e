"""What CLSR refuses, and that it says why."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import fasthash as fh
from clips import fit, make_clips

pytest.importorskip("torch", reason="CLSR trains with PyTorch: pip install '.[clsr]'")


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_bits": 33}, ValueError, "n_bits=33 is more than n_latent=32"),
        ({"temperature": 0}, ValueError, "temperature must be finite and greater than 0"),
        ({"dropout": 1.0}, ValueError, "dropout must be less than 1"),
        ({"dropout": "some"}, ValueError, "dropout must be one of 'auto'"),
        ({"n_epochs": 0}, ValueError, "n_epochs must be at least 1"),
        ({"batch_size": 1}, ValueError, "batch_size must be at least 2"),
        ({"consistency": -1.0}, ValueError, "consistency must be finite and at least 0"),
        ({"hidden": (0,)}, ValueError, "hidden must be at least 1"),
        ({"preprocessing": "zca"}, ValueError, "preprocessing must be one of 'none'"),
        (
            {"preprocessing": {"image": "none"}},
            ValueError,
            r"preprocessing is given for \['image'\]",
        ),
        ({"teacher": "image"}, ValueError, "teacher must be one of 'audio', 'text'"),
        ({"patience": 0}, ValueError, "patience must be at least 1"),
        ({"device": "abacus"}, ValueError, "device='abacus' cannot be used"),
        ({"encoders": {"text": np.tanh}}, TypeError, "must be a torch.nn.Module, got ufunc"),
        ({"learning_rate": 1e30}, ValueError, "lower learning_rate"),
    ],
)
def test_parameters_it_refuses(parameters, error, message):
    with pytest.raises(error, match=message):
        fit(*make_clips(n=60), parameters=parameters)


VIEWS, PAIRS = make_clips(n=20)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({"audio": VIEWS["audio"]}, PAIRS), ValueError, "at least 2 modalities"),
        (({**VIEWS, "image": VIEWS["audio"]}, PAIRS), ValueError, "takes two modalities"),
        ((VIEWS, None), ValueError, "pairs is None"),
        ((VIEWS, [[0, 0], [0, 1], [1, 1]]), ValueError, "both modalities more than once"),
        ((VIEWS, [[0, 0], [0, 0]]), ValueError, "np.unique"),
        ((VIEWS, [[0, 0], [0, 1]]), ValueError, "one row only"),
        ((VIEWS, [[0, 0], [1, 60]]), ValueError, "row 60 of 'text'"),
        (({**VIEWS, "text": np.ones((60, 3))}, PAIRS), ValueError, "same row in all pairs"),
    ],
)
def test_data_it_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        fit(*arguments)


@pytest.mark.parametrize(
    ("validation", "error", "message"),
    [
        (0.0, ValueError, "validation must be finite and greater than 0"),
        (0.99, ValueError, "holds out 20"),
        ((VIEWS,), TypeError, "tuple of 1"),
        (({"text": VIEWS["text"], "audio": VIEWS["audio"]}, None), ValueError, "same order"),
        (({**VIEWS, "text": VIEWS["text"][:, 1:]}, PAIRS), ValueError, "14 columns of 'text'"),
    ],
)
def test_validation_it_refuses(validation, error, message):
    with pytest.raises(error, match=message):
        fit(VIEWS, PAIRS, validation=validation)


def test_it_must_be_fitted_first():
    with pytest.raises(NotFittedError):
        fh.CLSR().transform(VIEWS["text"], "text")
    model = fit(VIEWS, PAIRS, parameters={"n_epochs": 1})
    with pytest.raises(ValueError, match="modality must be one of 'audio', 'text'"):
        model.transform(VIEWS["text"], "image")
    with pytest.raises(ValueError, match="fitted with 15"):
        model.transform(VIEWS["audio"], "text")
