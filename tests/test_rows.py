"""Feature matrices read by blocks from any source, and work on batches of blocks."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_info, threadpool_limits

import fasthash as fh
from fasthash._core.pieces import cut, smaller_pieces
from fasthash._core.rows import Rows
from fasthash._core.validation import check_rows
from fasthash._core.workers import Workers, threads_of_products
from fasthash.models.amsh import _fit as amsh_fit


class SlicedOnly:
    """Has a shape and a dtype and gives slices of rows; refuses everything else."""

    def __init__(self, values):
        self.shape, self.dtype, self._values = values.shape, values.dtype, values
        self.largest = 0

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        block = self._values[rows]
        self.largest = max(self.largest, len(block))
        return block

    def __array__(self, *args, **kwargs):
        raise AssertionError("read as a whole")


def make(n=60):
    """Two modalities with labels that features depend on."""
    rng = np.random.default_rng(0)
    y = {"image": rng.integers(0, 3, n), "text": rng.integers(0, 3, n - 7)}
    x = {
        name: (np.eye(3)[labels] @ rng.standard_normal((3, 5)) + rng.random((len(labels), 5)))
        for name, labels in y.items()
    }
    return x, y


def fit(x, y):
    return fh.AMSH(n_bits=8, n_anchors=20, random_state=0).fit(x, y)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(amsh_fit, "_SAMPLE_ROWS", 30)
    monkeypatch.setattr(amsh_fit, "_KEPT_BYTES", 0)
    with smaller_pieces(20 * 7):
        yield


def test_take_and_read_convert_and_never_read_the_whole(small_blocks):
    values = np.arange(300).reshape(30, 10)
    source = SlicedOnly(values)
    rows = Rows(source, np.float32)
    wanted = np.array([0, 3, 4, 17, 29])
    for found, expected in (
        (rows.take(wanted), values[wanted]),
        (rows.read(slice(3, 9)), values[3:9]),
        (Rows(values, np.float64).take(wanted), values[wanted]),
    ):
        np.testing.assert_array_equal(found, expected)
    assert rows.take(wanted).dtype == np.float32
    assert source.largest < 30


def test_all_rows_of_an_array_are_not_copied():
    values = np.arange(30.0).reshape(6, 5)
    everything = np.arange(6)
    for source in (values, sparse.csr_array(values)):
        rows = Rows(source, np.float64)
        assert rows.subset(everything) is rows
        for other in (everything[:5], everything[::-1]):
            found = rows.subset(other)
            np.testing.assert_array_equal(found.read(slice(None)), values[other])
    # Others are converted or read once, and then are in memory.
    for source, dtype in ((values, np.float32), (SlicedOnly(values), np.float64)):
        rows = Rows(source, dtype)
        assert rows.subset(everything) is not rows


def test_constant_rows():
    values = np.ones((30, 4))
    assert Rows(values, np.float64).is_constant()
    values[29, 3] = 2
    assert not Rows(values, np.float64).is_constant()


@pytest.mark.parametrize("kind", ["sliced", "h5py", "zarr", "dask", "torch"])
def test_models_read_blocks_of_whatever_can_be_sliced(small_blocks, tmp_path, kind):
    x, y = make()
    x = {name: values.astype(np.float32) for name, values in x.items()}
    if kind == "sliced":
        sources = {name: SlicedOnly(values) for name, values in x.items()}
    elif kind == "h5py":
        h5py = pytest.importorskip("h5py", reason="h5py is not installed")
        with h5py.File(tmp_path / "x.h5", "w") as file:
            for name, values in x.items():
                file.create_dataset(name, data=values, chunks=(8, 5))
        opened = h5py.File(tmp_path / "x.h5")
        sources = {name: opened[name] for name in x}
    elif kind == "zarr":
        zarr = pytest.importorskip("zarr", reason="zarr is not installed")
        sources = {name: zarr.array(values, chunks=(8, 5)) for name, values in x.items()}
    elif kind == "dask":
        dask = pytest.importorskip("dask.array", reason="dask is not installed")
        sources = {name: dask.from_array(values, chunks=(8, 5)) for name, values in x.items()}
    else:
        torch = pytest.importorskip("torch", reason="torch is not installed")
        sources = {name: torch.from_numpy(values) for name, values in x.items()}
    expected, model = fit(x, y), fit(sources, y)
    for name in x:
        np.testing.assert_array_equal(model.codes_[name], expected.codes_[name])
        np.testing.assert_array_equal(model.projections_[name], expected.projections_[name])
        codes = model.encode(sources[name], name)
        np.testing.assert_array_equal(codes, expected.encode(x[name], name))
    if kind == "sliced":
        assert max(source.largest for source in sources.values()) < 53


def test_what_is_wrong_in_a_later_block_is_found(small_blocks):
    values = np.zeros((100, 5))
    values[73, 2] = np.nan
    with pytest.raises(ValueError, match=r"X\[73, 2\] is nan"):
        check_rows(SlicedOnly(values), "X")
    with pytest.raises(TypeError, match="dtype <U1"):
        check_rows(SlicedOnly(np.full((3, 2), "a")), "X")
    with pytest.raises(ValueError, match=r"two dimensions.*shape \(3,\)"):
        check_rows(SlicedOnly(np.zeros(3)), "X")


@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 1e15), (np.float64, 1e70)])
def test_values_are_as_large_as_their_products_allow(dtype, largest):
    values = np.full((50, 8), 0.99 * largest, dtype)
    check_rows(values, "X")
    check_rows(sparse.csr_array(values), "X")
    values[31, 7] = -1.01 * largest
    refusal = r"X\[31, 7\] is -.*must be at most 1e\+.*scale them"
    for given in (values, np.asfortranarray(values), values[:, ::1], sparse.csc_array(values)):
        with pytest.raises(ValueError, match=refusal):
            check_rows(given, "X")


def test_encode_in_blocks_and_threads_has_no_seam():
    x, y = make()
    model = fit(x, y)
    whole = model.encode(x["image"], "image")
    for n_threads in (1, 2, 5):
        with smaller_pieces(20 * 7):
            codes = model.encode(x["image"], "image", n_threads=n_threads)
        np.testing.assert_array_equal(codes, whole)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_results_come_in_order(n_threads):
    blocks = cut(1000, 1 << 20)
    with Workers(n_threads) as workers:
        batches = list(workers.map(list, blocks))
    assert [rows for batch in batches for rows in batch] == blocks
    assert len(batches) > 10


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_error_in_a_strip_ends_the_work(n_threads):
    done = []

    def fail(blocks):
        done.append(blocks)
        if any(rows.start == 3 for rows in blocks):
            raise RuntimeError("third")

    with Workers(n_threads) as workers, pytest.raises(RuntimeError, match="third"):
        list(workers.map(fail, [slice(i, i + 1) for i in range(1000)]))
    assert len(done) < 20


def threads_of_linear_algebra():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_linear_algebra_has_one_thread_per_call_and_gets_its_threads_back():
    # More than one, whatever the processes of this suite have.
    with threadpool_limits(2, "blas"):
        before = threads_of_linear_algebra()
        assert set(before) == {2}
        with Workers(2) as workers:
            threads = workers.map(lambda blocks: threads_of_linear_algebra(), [slice(0, 1)])
            (during,) = set(map(tuple, threads))
        assert set(during) == {1}
        assert threads_of_linear_algebra() == before


def test_a_limit_of_linear_algebra_is_never_raised():
    """A user who sets OPENBLAS_NUM_THREADS=1 means every fit."""
    with threadpool_limits(2, "blas"):
        for n_threads, expected in ((1, 1), (2, 2), (5, 2)):
            with threads_of_products(n_threads):
                assert set(threads_of_linear_algebra()) == {expected}
            assert set(threads_of_linear_algebra()) == {2}


def test_what_must_finish_finishes_before_the_interrupt():
    """A real SIGINT in the middle: the function ends, then the interrupt is raised."""
    finished = []

    def work():
        time.sleep(0.4)
        finished.append(True)

    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with Workers(1) as workers, pytest.raises(KeyboardInterrupt):
        workers.finish(work)
    assert finished
    with Workers(1) as workers, pytest.raises(ZeroDivisionError):
        workers.finish(lambda: 1 / 0)
