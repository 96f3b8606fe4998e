"""Measures over partitions on two processes are those of one process, to the same bit."""

import numpy as np
import pytest
from scipy import sparse

import fasthash as fh
from strategies import random_codes

da = pytest.importorskip("dask.array", reason="needs Dask, of the extra `distributed`")


@pytest.fixture(scope="module")
def problem():
    """(query codes, codes, labels in every form, of queries and of codes)."""
    rng = np.random.default_rng(3)
    codes = random_codes(60, 20)[rng.integers(0, 60, 1100)]
    columns = rng.random((1100, 7)) < 0.2
    numbers = rng.integers(0, 5, 1100)
    names = np.array(["a", "bb", "c", "d", "e"])[numbers]
    return codes[:100], codes[100:], {"columns": columns, "numbers": numbers, "names": names}


@pytest.mark.parametrize("kind", ["columns", "numbers", "names"])
def test_measures(client, problem, kind):
    queries, codes, labels = problem
    own, others = labels[kind][:100], labels[kind][100:]
    one = queries, codes, own, others
    lazy_labels = da.from_array(others, chunks=400)
    lazy = queries, da.from_array(codes, chunks=(150, 2)), own, lazy_labels
    sharded = fh.distributed
    for options in (
        {},
        {"at": 50},
        {"at": "n_relevant"},
        {"radius": 6},
        {"normalize": "retrieved"},
    ):
        options["no_relevant"] = "zero"
        found = sharded.mean_average_precision(*lazy, **options, client=client)
        assert found == fh.mean_average_precision(*one, **options)
    found = sharded.average_precision(*lazy, at=50, client=client)
    np.testing.assert_array_equal(found, fh.average_precision(*one, at=50))
    for per_query in (False, True):
        options = {"ranks": [1, 10, 1000], "per_query": per_query}
        found = sharded.precision_at(*lazy, **options, client=client)
        np.testing.assert_array_equal(found, fh.precision_at(*one, **options))
        found = sharded.recall_at(*lazy, **options, client=client)
        np.testing.assert_array_equal(found, fh.recall_at(*one, **options))


def test_labels_of_this_process_and_partitions_of_unknown_size(client, problem):
    queries, codes, labels = problem
    own, others = labels["columns"][:100], labels["columns"][100:]
    expected = fh.mean_average_precision(queries, codes, own, others)
    lazy, options = da.from_array(codes, chunks=(300, 2)), {"client": client}
    measure = fh.distributed.mean_average_precision
    assert measure(queries, lazy, sparse.csr_array(own), others, **options) == expected
    some = np.arange(1000) < 600
    lazy_some = da.from_array(some, chunks=300)
    lazy_labels = da.from_array(others, chunks=(300, 7))
    found = measure(queries, lazy[lazy_some], own, lazy_labels[lazy_some], **options)
    assert found == fh.mean_average_precision(queries, codes[some], own, others[some])


def test_what_does_not_fit_is_refused(client, problem):
    queries, codes, labels = problem
    own, others = labels["numbers"][:100], labels["numbers"][100:]
    lazy = da.from_array(codes, chunks=(300, 2))
    for arguments, message in (
        ((queries, codes, own, others), "database_codes must be a Dask array"),
        ((queries[:, :1], lazy, own, others), r"database_codes must have shape \(n, 1\)"),
        ((queries, lazy, own[:5], others), "query_labels"),
        ((queries, lazy, own, others[:5]), "database_labels must have one row per code"),
        ((queries, lazy, own, others - 1), r"partition \d: database_labels"),
        ((queries[:0], lazy, own[:0], others), "query_codes is empty"),
        ((queries, lazy[:0], own, others[:0]), "database_codes is empty"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            fh.distributed.mean_average_precision(*arguments, client=client)
    with pytest.raises(ValueError, match="ranks holds 1001"):
        fh.distributed.recall_at(queries, lazy, own, others, ranks=1001, client=client)
