"""Codes of a Dask array, which workers compute by partition, are those of the whole array."""

import os
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fasthash as fh
from clusters import one_waits_to_rename
from fasthash._core.arrays import is_dask_array
from fasthash._core.cluster import client_for

da = pytest.importorskip("dask.array", reason="needs Dask, of the extra `distributed`")


class Emoji:
    """Features of the emoji as arrays."""

    def __init__(self):
        held = fh.datasets.load_emoji()
        self.image, self.text = (held.features[name] for name in ("image", "text"))
        self.labels = held.groups


@pytest.fixture(scope="module")
def emoji():
    return Emoji()


@pytest.fixture(scope="module")
def model(emoji):
    return fh.AMSH(24, n_anchors=100, n_sweeps=3, preprocessing="unit", random_state=0).fit(
        {"image": emoji.image, "text": emoji.text}, {"image": emoji.labels, "text": emoji.labels}
    )


def computed(client, lazy):
    return client.compute(lazy).result()


def test_models_of_several_modalities(client, model, emoji):
    lazy = da.from_array(emoji.image, chunks=(300, 50))
    for method, n_columns in (("encode", 3), ("project", 24)):
        found = getattr(model, method)(lazy, "image")
        expected = getattr(model, method)(emoji.image, "image")
        assert found.shape == (len(emoji.image), n_columns) and found.dtype == expected.dtype
        assert found.chunks[0] == lazy.chunks[0]
        found = computed(client, found)
        assert found.dtype == expected.dtype
        if method == "encode":
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_transformers(client, emoji):
    x = emoji.image
    lazy = da.from_array(x, chunks=(300, -1))
    for model in (fh.ITQ(16, random_state=0), fh.RandomHyperplanes(20, random_state=0)):
        model.fit(x)
        np.testing.assert_array_equal(computed(client, model.transform(lazy)), model.transform(x))
        found = computed(client, model.project(lazy))
        np.testing.assert_allclose(found, model.project(x), rtol=1e-3, atol=1e-4)


def test_partitions_of_unknown_size_and_empty_ones(client, model, emoji):
    lazy = da.from_array(emoji.image, chunks=(300, -1))
    kept = np.arange(len(lazy)) >= 700
    found = computed(client, model.encode(lazy[da.from_array(kept, chunks=300)], "image"))
    np.testing.assert_array_equal(found, model.encode(emoji.image[kept], "image"))


def test_a_sharded_index_of_lazy_codes(client, model, emoji):
    """Codes go from workers to shards, and never to this process."""
    index = fh.distributed.ShardedIndex(24, client=client)
    index.add(model.encode(da.from_array(emoji.text, chunks=(500, -1)), "text"))
    codes = model.encode(emoji.text, "text")
    one = fh.HammingIndex(24)
    one.add(codes)
    for found, expected in zip(index.search(codes[:9], 5), one.search(codes[:9], 5), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_module_that_another_thread_is_importing(emoji, monkeypatch):
    """A thread of a worker encodes an array while another imports dask.array for its task."""
    lazy = {"image": da.from_array(emoji.image)}
    for name in ("dask.array", "distributed"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        assert not is_dask_array(emoji.image)
        assert client_for(lazy) is None


def test_workers_do_not_get_the_codes_of_the_fit(model):
    from fasthash.models._partitions import _encoder_of

    assert hasattr(model, "codes_") and not hasattr(_encoder_of(model), "codes_")
    assert not hasattr(_encoder_of(model), "_states")


def test_written_to_zarr_by_workers(client, model, emoji, tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    codes = model.encode(da.from_array(emoji.text, chunks=(500, -1)), "text")
    codes.to_zarr(str(tmp_path / "codes.zarr"))
    np.testing.assert_array_equal(
        zarr.open(str(tmp_path / "codes.zarr"))[:], model.encode(emoji.text, "text")
    )


def test_a_worker_killed_while_it_writes_zarr(client, model, emoji, tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed")
    codes = model.encode(da.from_array(emoji.text, chunks=(300, -1)), "text")
    path = str(tmp_path / "codes.zarr")
    store = codes.to_zarr(path, compute=False)
    with ThreadPoolExecutor(1) as pool, one_waits_to_rename(client, tmp_path) as kill_it:
        written = pool.submit(computed, client, store)
        kill_it()
        written.result()
    np.testing.assert_array_equal(zarr.open(path)[:], model.encode(emoji.text, "text"))


def test_a_worker_killed_while_it_writes_parquet(client, model, emoji, tmp_path):
    """Files written as in the tutorial, and read into a sharded index."""
    dask, pa, pq = map(pytest.importorskip, ("dask", "pyarrow", "pyarrow.parquet"))

    @dask.delayed
    def write(codes, ids, path):
        table = pa.table({"id": ids, "code": fh.interchange.to_arrow(codes)})
        pq.write_table(table, f"{path}.part")
        os.replace(f"{path}.part", path)
        return path

    lazy = model.encode(da.from_array(emoji.text, chunks=(500, -1)), "text")
    ids = da.arange(len(lazy), 0, -1, chunks=lazy.chunks[:1])
    folder = tmp_path / "codes"
    folder.mkdir()
    paths = [str(folder / f"{part}.parquet") for part in range(4)]
    parts = zip(lazy.to_delayed().ravel(), ids.to_delayed(), paths, strict=True)
    with one_waits_to_rename(client, tmp_path) as kill_it:
        written = client.compute([write(*part) for part in parts])
        kill_it()
        assert client.gather(written) == paths
    assert sorted(map(str, folder.iterdir())) == paths
    index = fh.distributed.ShardedIndex(24, client=client)
    index.add(
        fh.distributed.read_arrays(paths, name="code"),
        ids=fh.distributed.read_arrays(paths, name="id"),
    )
    assert index.shard_sizes == [500, 500, 500, 406]
    codes = model.encode(emoji.text, "text")
    np.testing.assert_array_equal(index.reconstruct(np.arange(len(codes), 0, -1)), codes)


def test_what_cannot_be_encoded_is_refused(client, model, emoji):
    lazy = da.from_array(emoji.image, chunks=(300, -1))
    for call, message in (
        (lambda: model.encode(lazy[:, :5], "image"), "X has 5 columns, but the model was fitted"),
        (lambda: model.encode(lazy[:, 0], "image"), "X must have two dimensions"),
        (lambda: model.encode(lazy.astype(str), "image"), "X must hold real numbers"),
        (lambda: model.encode(lazy, "sound"), "modality must be one of"),
        (lambda: computed(client, model.encode(lazy / 0.0, "image")), r"X\[0, \d+\] is nan|inf"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()
