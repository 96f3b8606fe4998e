"""Fits on two processes: those of one process with the same parts, to the same bit."""

import pickle
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

import fasthash as fh
from cluster_fits import assert_same_model, emoji_data, lazy
from clusters import MEMORY_LIMIT, kill, pids
from fasthash._core.cluster import Cluster
from fasthash._core.cluster_rows import ClusterRows, RemotePart, sent
from fasthash._core.merges import MOST_ANSWERS
from fasthash._core.workers import Workers
from fasthash.models.amsh import _codes, _fit
from fasthash.models.amsh._cluster_fit import ClusterLabels
from fasthash.models.amsh._code_parts import CodePart, LabelRows, draw_part

da = pytest.importorskip("dask.array", reason="needs Dask, of the extra `distributed`")


@pytest.fixture(scope="module")
def data():
    return emoji_data()


def code_parts(labels, bounds):
    return [CodePart(a, LabelRows.of(sparse.csr_array(labels[a:b]))) for a, b in pairwise(bounds)]


def test_sweeps_on_a_cluster_are_those_of_one_process(client):
    """The same parts give the same bits: latents, codes and objective."""
    rng = np.random.default_rng(0)
    labels = [(rng.random((n, 6)) < 0.3).astype(float) for n in (500, 400)]
    # So many parts that their sums are added in groups.
    bounds = [[0, 200, 201, *range(220, 501, 20)], [0, 400]]
    assert len(bounds[0]) - 1 > MOST_ANSWERS

    def run(executor, as_parts):
        state = np.random.RandomState(0)
        with executor as workers:
            modalities = []
            for y, cuts in zip(labels, bounds, strict=True):
                parts = as_parts(code_parts(y, cuts))
                seed = state.randint(2**32, size=4, dtype=np.uint32)
                workers.change(draw_part, parts, seed, 12, np.float32)
                _codes.orthogonalise(parts, state, workers)
                modalities.append(_codes.start_codes(parts, workers))
            objective = [
                _codes.sweep(modalities, _codes.Weights(0.01, 0.02, 0.7), state, workers)
                for _ in range(2)
            ]
            rows = [
                np.asarray(workers.rows_of(m.parts, name))
                for m in modalities
                for name in ("v", "packed")
            ]
        return objective, rows

    def on_cluster(parts):
        return [RemotePart(future) for future in client.map(lambda part: part, parts, pure=False)]

    (objective, rows), (expected, expected_rows) = (
        run(Cluster(client, None), on_cluster),
        run(Workers(2), lambda parts: parts),
    )
    assert objective == expected
    for a, b in zip(rows, expected_rows, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("n_bits", "preprocessing"), [(24, "none"), (8, "unit")])
def test_amsh_of_one_partition_is_the_fit_of_one_process(client, data, n_bits, preprocessing):
    """With more bits than classes, and with fewer."""
    features, labels = data
    assert 8 < len(np.unique(labels["text"])) < 24
    model = fh.AMSH(n_bits, n_anchors=40, n_sweeps=2, preprocessing=preprocessing, random_state=0)
    expected = model.fit(features, labels, n_threads=1)
    with client.as_current():
        found = fh.AMSH(**model.get_params()).fit(lazy(features, 2000), labels)
    assert_same_model(found, expected)
    assert found.n_iter_ == expected.n_iter_


def test_a_start_from_a_sample_is_that_of_one_process(client, data, monkeypatch):
    """The sample stays where its partition is."""
    features, labels = data
    monkeypatch.setattr(_fit, "_SAMPLE_ROWS", 500)
    monkeypatch.setattr(_fit, "_KEPT_BYTES", 1 << 14)
    taken = []
    take = ClusterRows.take
    monkeypatch.setattr(
        ClusterRows, "take", lambda self, rows: taken.append(len(rows)) or take(self, rows)
    )
    model = fh.AMSH(8, n_anchors=40, n_sweeps=2, random_state=0)
    expected = model.fit(features, labels, n_threads=1)
    with client.as_current():
        found = fh.AMSH(**model.get_params()).fit(lazy(features, 2000), labels)
    assert_same_model(found, expected)
    assert taken and 500 not in taken


def test_messages_of_a_sweep(client):
    """A change of a part is two tasks, for any number of samples; a sweep has three changes."""
    from distributed import get_task_stream

    def tasks_of_a_sweep(n, n_parts):
        rng = np.random.default_rng(n)
        bounds = np.linspace(0, n, n_parts + 1).astype(int)
        state = np.random.RandomState(0)
        with Cluster(client, None) as workers:
            modalities = []
            for _ in range(2):
                parts = code_parts((rng.random((n, 30)) < 0.3).astype(float), bounds)
                parts = [RemotePart(x) for x in client.map(lambda x: x, parts, pure=False)]
                seed = state.randint(2**32, size=4, dtype=np.uint32)
                workers.change(draw_part, parts, seed, 12, np.float32)
                modalities.append(_codes.start_codes(parts, workers))
            with get_task_stream(client) as stream:
                _codes.sweep(modalities, _codes.Weights(0.01, 0.02, 0.7), state, workers)
        return len(stream.data)

    assert tasks_of_a_sweep(400, 2) == tasks_of_a_sweep(4000, 2) == 2 * 2 * 3 * 2
    assert tasks_of_a_sweep(400, 3) == 3 * 2 * 3 * 2


AMSH_OPTIONS = {"n_bits": 24, "n_anchors": 40, "n_sweeps": 2, "random_state": 0}


@pytest.fixture(scope="module")
def amsh_of_partitions(client, data):
    features, labels = data
    lazy_labels = {name: da.from_array(y, 100) for name, y in labels.items()}
    with client.as_current():
        return fh.AMSH(**AMSH_OPTIONS).fit(lazy(features, 700), lazy_labels)


def test_amsh_of_partitions(data, amsh_of_partitions):
    """As good as in one process."""
    features, labels = data
    one, found = fh.AMSH(**AMSH_OPTIONS).fit(features, labels), amsh_of_partitions
    np.testing.assert_allclose(found.objective_[-1], one.objective_[-1], rtol=5e-2)
    scores = [
        fh.mean_average_precision(
            model.encode(features["text"], "text"), model.codes_["image"], *[labels["text"]] * 2
        )
        for model in (one, found)
    ]
    assert scores[1] == pytest.approx(scores[0], abs=0.02)


def test_partitions_larger_than_the_memory_of_a_worker(client, data):
    """They are refused before a worker reads one; partitions of half the size fit."""
    features, labels = data
    # 400 bytes a row of float64: more than 60 % of the limit.
    n = MEMORY_LIMIT // 600
    large = da.zeros((2 * n, 50), chunks=(n, 50))
    model = fh.ITQ(8, random_state=0).fit(features["image"][:, :50])
    with client.as_current():
        for call, name in (
            (lambda: fh.AMSH(8).fit({"image": large, "text": large}, labels), "features"),
            (lambda: fh.CCAITQ(8).fit({"image": large, "text": large}), "features"),
            (lambda: fh.ITQ(8).fit(large), "X"),
            (lambda: model.transform(large), "X"),
            (lambda: model.project(large), "X"),
        ):
            with pytest.raises(ValueError, match=rf"partition 0 of {name}.* has {n:,} rows, and a"):
                call()
        assert model.transform(large.rechunk({0: n // 2})).shape == (2 * n, 1)
    # Other schedulers than that of the cluster have no such limit.
    assert model.transform(large).shape == (2 * n, 1)


def test_a_worker_killed_in_the_middle_of_a_fit(client, data, amsh_of_partitions):
    """The same bits again, wherever the partitions are."""
    features, labels = data
    killed = []
    with client.as_current():

        def kill_once(stage, done, total):
            if stage == "codes" and done == 1 and not killed:
                killed.append(pids(client)[0])
                kill(killed[0])

        found = fh.AMSH(**AMSH_OPTIONS).fit(lazy(features, 700), labels, callback=kill_once)
    assert killed
    assert_same_model(found, amsh_of_partitions)


@pytest.mark.parametrize("n_bits", [16, 300])
def test_itq(client, data, n_bits):
    """One partition gives the bits of one process; several, the same up to rounding."""
    x = data[0]["image"]
    expected = fh.ITQ(n_bits, random_state=0, n_iterations=3).fit(x, n_threads=1)
    for rows in (2000, 700):
        model = fh.ITQ(n_bits, random_state=0, n_iterations=3)
        with client.as_current():
            codes = client.compute(model.fit_transform(da.from_array(x, chunks=(rows, 100))))
        if rows > len(x):
            np.testing.assert_array_equal(model.projection_, expected.projection_)
            np.testing.assert_array_equal(codes.result(), expected.transform(x))
        np.testing.assert_allclose(
            model.explained_variance_, expected.explained_variance_, rtol=1e-6, atol=1e-9
        )
    plain = fh.RandomHyperplanes(20, random_state=0)
    with client.as_current():
        found = fh.RandomHyperplanes(20, random_state=0).fit(da.from_array(x, chunks=(700, -1)))
    np.testing.assert_allclose(found.mean_, plain.fit(x).mean_, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(found.projection_, plain.projection_)


@pytest.mark.parametrize("method", ["ITQ", "CCAITQ"])
def test_workers_add_up_the_sums_of_many_partitions(client, monkeypatch, method):
    """This process receives no large sum of a partition, and the total is that of all."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 60)) @ rng.standard_normal((60, 60))
    model = getattr(fh, method)(8, n_iterations=1, random_state=0)
    lazy = da.from_array(x, chunks=(20, 60))
    given, on_workers = x, lazy
    if method == "CCAITQ":
        y = x + 0.1 * rng.standard_normal(x.shape)
        given, on_workers = {"a": x, "b": y}, {"a": lazy, "b": da.from_array(y, chunks=(20, 60))}
    plain = model.fit(given)
    received, gather = [], client.gather

    def spy(futures, *options, **more):
        values = gather(futures, *options, **more)
        received.extend(len(pickle.dumps(value)) for value in values)
        return values

    monkeypatch.setattr(client, "gather", spy)
    with client.as_current():
        found = getattr(fh, method)(**model.get_params()).fit(on_workers)
    # Sizes and a few rows are received from every partition; one worker has all sums of squares.
    assert max(received) < x[:20].nbytes + 1000 < 8 * 60 * 60
    name = "explained_variance_" if method == "ITQ" else "correlations_"
    np.testing.assert_allclose(getattr(found, name), getattr(plain, name), rtol=1e-9)


def test_a_column_of_one_value_is_found_on_the_workers(client, monkeypatch):
    """The rows that come to this process are a sample, and not all of them."""
    x = np.random.default_rng(0).standard_normal((20_000, 3))
    x[:, 1] = 7
    taken = []
    take = ClusterRows.take
    monkeypatch.setattr(
        ClusterRows, "take", lambda self, rows: taken.append(len(rows)) or take(self, rows)
    )
    with client.as_current(), pytest.warns(UserWarning, match=r"1 of 3 columns .* \(1\)"):
        fh.RandomHyperplanes(8).fit(da.from_array(x, chunks=(6000, 3)))
    assert sum(taken) < len(x) / 2


def test_rows_are_reported_when_their_partition_is_done(client, data):
    features, labels = data
    reports = {}

    def note(stage, done, total):
        reports.setdefault(stage, []).append((done, total))

    n, partition = len(features["image"]), 700
    with client.as_current():
        fh.ITQ(8, n_iterations=2).fit(da.from_array(features["image"], partition), callback=note)
        fh.AMSH(8, n_anchors=20, n_sweeps=2, random_state=0).fit(
            lazy(features, partition), labels, callback=note
        )
    for stage in ("covariance", "hash functions of image, 1"):
        done = [rows for rows, _ in reports[stage]]
        assert len(done) == -(-n // partition) and done == sorted(set(done))
        assert reports[stage][-1] == (n, n)


def test_tasks_of_a_part_run_where_it_is(client):
    """Also if its size is unknown to Dask, and an argument is on another worker."""
    from distributed import get_worker

    def address_of(*_):
        return get_worker().address

    def object_of(*_):
        return object()

    first, second = client.scheduler_info()["workers"]
    expected = [first, second, second, first, second]
    futures = [client.submit(object, workers=[address], pure=False) for address in expected]
    parts, large = [RemotePart(future) for future in futures], np.zeros(10**6)
    with Cluster(client, None) as workers:
        for _ in range(3):
            assert workers.run(address_of, parts, large) == expected
        listed = workers.beside([parts, workers.spread([large] * len(parts))])
        assert workers.run(address_of, listed) == expected
        assert workers.run(address_of, workers.made(object_of, listed, large)) == expected
        # A worker that is lost has another address when it is there again.
        parts[0].worker = "tcp://127.0.0.1:1"
        assert workers.run(address_of, parts, large)[1:] == expected[1:]


def test_dask_does_not_warn_of_what_a_fit_sends(client):
    """Users cannot make labels, numbers of rows or anchors smaller; a warning is an error here."""
    n = 1_500_000
    labels = sparse.csr_array((np.ones(n), np.zeros(n, int), np.arange(n + 1)), shape=(n, 1))
    ClusterLabels(client, np.array([0, n // 2, n]), labels)
    rows = ClusterRows(client, da.ones((n, 2), chunks=(n // 2, 2)), "features")
    assert len(rows.subset(np.arange(n - 1))) == n - 1
    assert len(rows.arranged([np.arange(1, n)])) == n - 1
    assert Cluster(client, None).spread([np.zeros(n)])[0].future.result().shape == (n,)
    assert sent(client, [np.zeros(n)]).result()[0].shape == (n,)


def test_what_itq_cannot_fit_is_refused(client):
    with client.as_current():
        for x, message in (
            (np.ones((1, 3)), "X has 1 sample"),
            (np.ones((5, 3)), "the same row for all samples"),
            (np.full((5, 3), np.inf), r"partition [01]: X\[0, 0\] is inf"),
            (np.ones(5), "X must have two dimensions"),
        ):
            with pytest.raises(ValueError, match=message):
                fh.ITQ(2).fit(da.from_array(x, chunks=3))


def test_what_a_cluster_cannot_fit_is_refused(client, data):
    features, labels = data
    wrong = {**features, "text": features["text"].copy()}
    wrong["text"][700, 3] = np.nan
    with client.as_current():
        for model, given, options, message in (
            (fh.AMSH(init="pca"), features, {}, "pass init='random'"),
            (fh.AMSH(preprocessing="whiten"), features, {}, "preprocessing='whiten' is not"),
            (fh.AMSH(), features, {"resume": True}, "cannot be resumed"),
            (fh.AMSH(), wrong, {}, r"partition 1: features\['text'\]\[200, 3\] is nan"),
            (fh.AMSH(n_bits=2000), features, {}, "n_bits=2000 needs more samples than bits"),
        ):
            with pytest.raises(ValueError, match=message):
                model.fit(lazy(given), labels, **options)
            assert not hasattr(model, "codes_")


def test_warnings_are_those_of_one_process(client, data):
    """Rows are counted over all partitions, and have the numbers of the whole array."""
    features, labels = {name: x.copy() for name, x in data[0].items()}, data[1]
    features["image"][[3, 600, 601, 602, 1100, 1101, 1200]] = 0
    features["text"][:, 2] *= 1e6

    def messages(given):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fh.AMSH(8, n_anchors=20, n_sweeps=1, random_state=0).fit(given, labels)
        return [(str(one.message), one.filename) for one in caught if one.category is UserWarning]

    expected = messages(features)
    assert "7 of 1906 rows that hold only zeros (3, 600, 601, 602, 1100, …)" in expected[0][0]
    assert " columns with 100.0% of the variance (2): " in expected[1][0]
    with client.as_current():
        assert messages(lazy(features)) == expected
