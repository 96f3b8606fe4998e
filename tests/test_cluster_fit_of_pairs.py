"""Fits of paired modalities on two processes: those of one process with the same parts."""

import numpy as np
import pytest

import fasthash as fh
from cluster_fits import assert_same_hash_functions, assert_same_model, emoji_data, lazy
from clusters import kill, pids
from fasthash._core.cluster_rows import ClusterRows
from fasthash._core.features import centring_map
from fasthash.models.rreh import _fit as rreh_fit
from fasthash.models.rreh._fit import RrehFit

da = pytest.importorskip("dask.array", reason="needs Dask, of the extra `distributed`")


@pytest.fixture(scope="module")
def data():
    return emoji_data()


def scattered(features, share):
    """Rows of each modality in an order of their own, and the pairs of some of them."""
    rng = np.random.default_rng(0)
    orders = {name: rng.permutation(len(x)) for name, x in features.items()}
    places = {name: np.argsort(order) for name, order in orders.items()}
    n_pairs = int(share * len(next(iter(features.values()))))
    pairs = np.stack([place[:n_pairs] for place in places.values()], axis=1)
    return {name: x[orders[name]] for name, x in features.items()}, pairs


@pytest.mark.parametrize("options", [{}, {"kernel": "rbf", "n_anchors": 60}, {"ridge": 0.1}])
def test_ccaitq_of_one_partition_is_the_fit_of_one_process(client, data, options):
    features, pairs = scattered(data[0], 0.5)
    model = fh.CCAITQ(24, n_iterations=4, preprocessing="unit", random_state=0, **options)
    expected = model.fit(features, pairs, n_threads=1)
    with client.as_current():
        found = fh.CCAITQ(**model.get_params()).fit(lazy(features, 2000), pairs)
    assert_same_hash_functions(found, expected)
    np.testing.assert_array_equal(found.correlations_, expected.correlations_)


def test_ccaitq_of_partitions(client, data):
    """The same choices as in one process, and nearly the same directions."""
    for features, pairs in ((data[0], None), scattered(data[0], 0.7)):
        model = fh.CCAITQ(24, n_iterations=4, random_state=0)
        expected = model.fit(features, pairs)
        uneven = {"image": (500, 906, 500), "text": (1000, 6, 900)}
        given = {m: da.from_array(x, chunks=(uneven[m], 50)) for m, x in features.items()}
        with client.as_current():
            found = fh.CCAITQ(**model.get_params()).fit(given, pairs)
        assert found.power_ == expected.power_
        for name, ridge in expected.ridges_.items():
            assert found.ridges_[name] == pytest.approx(ridge, rel=1e-3)
            assert found.codes_[name].shape == expected.codes_[name].shape
            np.testing.assert_array_equal(
                found.codes_[name], found.encode(features[name], name, n_threads=1)
            )
        np.testing.assert_allclose(found.correlations_, expected.correlations_, rtol=1e-3)


RREH_OPTIONS = {"n_bits": 24, "n_anchors": 60, "n_sweeps": 2, "random_state": 0}


def assert_same_rreh(a, b):
    assert_same_model(a, b)
    np.testing.assert_array_equal(a.anchors_, b.anchors_)
    assert a.linear_share_ == b.linear_share_
    assert a.weights_ == b.weights_ and a.reliability_ == b.reliability_


@pytest.mark.parametrize(
    "options",
    [
        {"preprocessing": "unit"},
        {"kernel": "rbf", "reconstruction": "dense", "shrinkage": 0.1},
        {"kernel": "linear", "unpaired": False},
    ],
)
def test_rreh_of_one_partition_is_the_fit_of_one_process(client, data, options):
    features, pairs = scattered(data[0], 0.3)
    expected = fh.RREH(**RREH_OPTIONS, **options).fit(features, pairs, n_threads=1)
    with client.as_current():
        found = fh.RREH(**expected.get_params()).fit(lazy(features, 2000), pairs)
    assert_same_rreh(found, expected)


def test_rreh_leaves_unpaired_rows_out_as_in_one_process(client):
    """Where anchors explain nothing, and whatever the parts are."""
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal((600, d)) for name, d in (("image", 6), ("text", 4))}
    features, pairs = scattered(x, 0.5)
    expected = fh.RREH(**RREH_OPTIONS, preprocessing="unit").fit(features, pairs, n_threads=1)
    assert expected.weights_ == {"image": 0, "text": 0}
    for n_rows in (600, 250):
        with client.as_current():
            found = fh.RREH(**expected.get_params()).fit(lazy(features, n_rows), pairs)
        assert found.weights_ == expected.weights_
        if n_rows == 600:
            assert_same_rreh(found, expected)
        for name, x in features.items():
            scores = [model.project(x, name) for model in (found, expected)]
            assert np.linalg.norm(scores[0] - scores[1]) < 1e-4 * np.linalg.norm(scores[1])


def test_rreh_of_partitions(client, data):
    """
    The same choices as in one process, and the same model up to the rounding of float32.

    Only the order of sums differs. The reliability depends on the nearest anchors, and rounding may
    exchange two that are as near. The rounding of sums, 1e-7 of their size, is enlarged by the
    regressions: projections move by 2e-5 of their size, and just as much if one process cuts its
    rows into other blocks. A bit may differ whose projection is that close to 0.
    """
    uneven = {"image": (500, 906, 500), "text": (1000, 6, 900)}
    for features, pairs in ((data[0], None), scattered(data[0], 0.3)):
        expected = fh.RREH(**RREH_OPTIONS).fit(features, pairs, n_threads=1)
        given = {m: da.from_array(x, chunks=(uneven[m], 50)) for m, x in features.items()}
        with client.as_current():
            found = fh.RREH(**RREH_OPTIONS).fit(given, pairs)
        np.testing.assert_array_equal(found.anchors_, expected.anchors_)
        assert found.linear_share_ == expected.linear_share_
        np.testing.assert_allclose(found.objective_, expected.objective_, rtol=1e-5)
        for name in features:
            assert found.reliability_[name] == pytest.approx(expected.reliability_[name], rel=1e-3)
            assert found.weights_[name] == pytest.approx(expected.weights_[name], rel=1e-3)
            scores = [model.project(features[name], name) for model in (found, expected)]
            assert np.linalg.norm(scores[0] - scores[1]) < 1e-4 * np.linalg.norm(scores[1])
            bits = [np.unpackbits(model.codes_[name]) for model in (found, expected)]
            assert np.mean(bits[0] != bits[1]) < 1e-3
        if pairs is not None:
            image, text = (found.codes_[m][own] for m, own in zip(features, pairs.T, strict=True))
            np.testing.assert_array_equal(image, text)


def test_messages_of_a_sweep_of_rreh(client, data, monkeypatch):
    """It changes each part three times, which are two tasks each, and asks once for its anchors."""
    from distributed import get_task_stream

    n_tasks, sweep = [], RrehFit.sweep

    def counted(fit):
        with get_task_stream(client) as stream:
            objective = sweep(fit)
        n_tasks.append(len(stream.data))
        return objective

    monkeypatch.setattr(RrehFit, "sweep", counted)
    with client.as_current():
        fh.RREH(**RREH_OPTIONS).fit(lazy(data[0], 700))
    assert n_tasks == [3 * (3 * 2 + 1)] * 2


def test_parts_of_a_worker_share_the_memory_for_mapped_features(client, data, monkeypatch):
    kept, sweep = [], RrehFit.sweep

    def bytes_of(part, workers):
        return sum(block.nbytes for mapped in part.mapped for block in mapped._kept.values())

    def counted(fit):
        objective = sweep(fit)
        kept.append(sum(fit._workers.run(bytes_of, fit._parts)))
        return objective

    monkeypatch.setattr(RrehFit, "sweep", counted)
    # A worker has two parts, each of which would have space if it were alone.
    most = 1 << 19
    monkeypatch.setattr(rreh_fit, "_KEPT_BYTES", most)
    with client.as_current():
        fh.RREH(**{**RREH_OPTIONS, "n_sweeps": 1}).fit(lazy(data[0]))
    assert kept == [0]
    rows = ClusterRows(client, lazy(data[0], 200)["image"], "features")
    mapped = rows.mapped(centring_map(rows), 10_000)
    n_kept = 10_000 // 5 // (rows.shape[1] * rows.dtype.itemsize)
    assert [part._n_kept for part in client.gather(mapped._futures)] == [n_kept] * 10


def test_rreh_where_parts_lack_rows(client):
    """Parts without pairs, without unpaired rows, and without any row of a modality."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((120, 3))
    x = {
        name: common @ rng.standard_normal((3, d)) + 0.1 * rng.standard_normal((120, d))
        for name, d in (("a", 6), ("b", 5), ("c", 4))
    }
    x["c"] = x["c"][:40]
    # All pairs lie in the second and third partition of the first modality.
    pairs = np.stack([np.arange(30, 65), np.arange(70, 105), np.arange(35)], axis=1)
    chunks = {"a": (30, 20, 25, 15, 30), "b": (50, 70), "c": (40,)}
    model = fh.RREH(9, n_components=4, n_anchors=12, k=4, n_sweeps=2, random_state=0)
    expected = model.fit(x, pairs, n_threads=1)
    with client.as_current():
        found = fh.RREH(**model.get_params()).fit(
            {name: da.from_array(rows, chunks=(chunks[name], -1)) for name, rows in x.items()},
            pairs,
        )
    # In float64 rounding is far from a sign.
    np.testing.assert_allclose(found.objective_, expected.objective_, rtol=1e-9)
    for name in x:
        np.testing.assert_array_equal(found.codes_[name], expected.codes_[name])
        np.testing.assert_allclose(
            found.projections_[name], expected.projections_[name], rtol=1e-6, atol=1e-9
        )


@pytest.fixture(scope="module")
def rreh_of_partitions(client, data):
    features, pairs = scattered(data[0], 0.3)
    with client.as_current():
        return fh.RREH(**RREH_OPTIONS).fit(lazy(features, 700), pairs)


def test_rreh_does_not_depend_on_the_number_of_workers(data, rreh_of_partitions):
    """One worker, a thread of this process, changes its parts as two processes do."""
    from distributed import Client

    features, pairs = scattered(data[0], 0.3)
    one = Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0",
        set_as_default=False,
    )  # fmt: skip
    with one, one.as_current():
        found = fh.RREH(**RREH_OPTIONS).fit(lazy(features, 700), pairs)
    assert_same_rreh(found, rreh_of_partitions)


def test_rreh_survives_a_killed_worker(client, data, rreh_of_partitions):
    features, pairs = scattered(data[0], 0.3)
    killed = []
    with client.as_current():

        def kill_once(stage, done, total):
            if stage == "sweeps" and done == 1 and not killed:
                killed.append(pids(client)[0])
                kill(killed[0])

        found = fh.RREH(**RREH_OPTIONS).fit(lazy(features, 700), pairs, callback=kill_once)
    assert killed
    assert_same_rreh(found, rreh_of_partitions)


@pytest.mark.parametrize("lazily", [("a",), ("a", "b")])
@pytest.mark.parametrize("part", ["train", "test", "database"])
def test_features_may_be_dask_arrays_in_part(client, lazily, part):
    """Methods are compared as if all features were arrays of this process."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = {name: np.eye(3)[y] + 0.3 * rng.random((90, 3)) for name in ("a", "b")}
    arrays = fh.datasets.Part(x, y)
    mixed = {
        name: da.from_array(v, chunks=(40, 3)) if name in lazily else v for name, v in x.items()
    }
    options = {"n_bits": [2], "seeds": [0], "metrics": [fh.experiments.Metric("map")]}
    parts = dict.fromkeys(("train", "test", "database"), arrays)

    def scores(**parts):
        found = fh.experiments.compare({"CCAITQ": fh.CCAITQ()}, **parts, **options)
        return [(one.query, one.database, round(one.value, 9)) for one in found]

    expected = scores(**parts)
    with client.as_current():
        assert scores(**{**parts, part: fh.datasets.Part(mixed, y)}) == expected
