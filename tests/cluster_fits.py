"""Data for fits on a cluster, and comparisons of what two fits have found."""

import numpy as np
import pytest

import fasthash as fh

da = pytest.importorskip("dask.array", reason="needs Dask, of the extra `distributed`")


def emoji_data():
    """Features of two modalities, and labels of their rows."""
    emoji = fh.datasets.load_emoji()
    # A third of the columns, because each of them costs time in every fit.
    features = {name: emoji.features[name][:, ::3] for name in ("image", "text")}
    return features, {name: emoji.groups for name in features}


def lazy(features, rows=500):
    return {name: da.from_array(x, chunks=(rows, 50)) for name, x in features.items()}


def assert_same_hash_functions(a, b):
    for name in a.modalities_:
        np.testing.assert_array_equal(a.codes_[name], b.codes_[name])
        assert a.codes_[name].dtype == b.codes_[name].dtype
        np.testing.assert_array_equal(a.projections_[name], b.projections_[name])


def assert_same_model(a, b):
    assert_same_hash_functions(a, b)
    np.testing.assert_array_equal(a.objective_, b.objective_)
