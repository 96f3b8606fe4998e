"""Models of every method, with small data to fit them to: for the tests of what all share."""

import numpy as np
import pytest

import fasthash as fh
from fasthash import models
from fasthash.experiments import learns_from

CROSS_MODAL = {
    "AMSH": lambda **p: fh.AMSH(**{"n_bits": 8, "n_anchors": 20, "random_state": 0, **p}),
    "AMSH, linear": lambda **p: fh.AMSH(**{"n_bits": 8, "n_anchors": None, "random_state": 0, **p}),
    "CCAITQ": lambda **p: fh.CCAITQ(**{"n_bits": 8, "random_state": 0, **p}),
    "CLSR": lambda **p: fh.CLSR(
        **{"n_bits": 8, "n_latent": 16, "hidden": (16,), "n_epochs": 1, "random_state": 0, **p}
    ),
    "CMFH": lambda **p: models.CMFH(**{"n_bits": 8, "n_iterations": 5, "random_state": 0, **p}),
    "CVH": lambda **p: models.CVH(**{"n_bits": 8, "random_state": 0, **p}),
    "DCH": lambda **p: models.DCH(**{"n_bits": 8, "n_anchors": 20, "random_state": 0, **p}),
    "RREH": lambda **p: fh.RREH(
        **{"n_bits": 8, "n_components": 4, "n_anchors": 20, "random_state": 0, **p}
    ),
    "RREH, linear": lambda **p: fh.RREH(
        **{"n_bits": 8, "n_components": 4, "kernel": "linear", "random_state": 0, **p}
    ),
    "SCM": lambda **p: models.SCM(**{"n_bits": 8, "random_state": 0, **p}),
}
SINGLE = {"ITQ": fh.ITQ, "RandomHyperplanes": fh.RandomHyperplanes}

every_method = pytest.mark.parametrize("method", CROSS_MODAL)
every_transformer = pytest.mark.parametrize("model", SINGLE.values(), ids=SINGLE)


def make_model(method, **parameters):
    if method == "CLSR":
        pytest.importorskip("torch", reason="CLSR trains with PyTorch, which is not installed")
    return CROSS_MODAL[method](**parameters)


def make(n=80, seed=0):
    """Two modalities of few values other than 0, and labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = {}
    for name, d in (("image", 12), ("text", 9)):
        values = rng.standard_normal((3, d))[y] + 0.3 * rng.standard_normal((n, d))
        kept = rng.random((n, d)) < 0.4
        # A row of zeros only is warned about.
        kept[~kept.any(axis=1), 0] = True
        x[name] = values * kept
    return x, y


def fit(model, x, y, **options):
    options = {"n_threads": 1, **options}
    if learns_from(model, "labels"):
        return model.fit(x, dict.fromkeys(x, y), **options)
    return model.fit(x, **options)


def frames(x, library="pandas"):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    made = {}
    for name, values in x.items():
        columns = [f"{name[0]}{i}" for i in range(values.shape[1])]
        made[name] = pandas.DataFrame(values, columns=columns)
        if library == "polars":
            polars = pytest.importorskip("polars", reason="polars is not installed")
            made[name] = polars.DataFrame(values, columns)
    return made
