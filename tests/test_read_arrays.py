"""A Dask array of several files: the arrays of the files, one below the other."""

import numpy as np
import pytest

import fasthash as fh

da = pytest.importorskip("dask.array", reason="needs Dask, of the extra `distributed`")


def test_files_of_several_formats(client, tmp_path):
    parts = [np.random.default_rng(i).random((5 + i, 3)) for i in range(3)]
    paths = [tmp_path / "a.npy", tmp_path / "b.npz", tmp_path / "c.npz"]
    np.save(paths[0], parts[0])
    lazy = fh.distributed.read_arrays([str(paths[0])])
    np.testing.assert_array_equal(client.compute(lazy).result(), parts[0])
    np.savez(paths[1], x=parts[1], y=np.arange(3))
    np.savez_compressed(paths[2], x=parts[2])
    lazy = fh.distributed.read_arrays(paths[1:], name="x")
    assert lazy.chunks == ((6, 7), (3,)) and lazy.dtype == float
    np.testing.assert_array_equal(client.compute(lazy).result(), np.vstack(parts[1:]))


def test_files_that_do_not_fit_are_refused(tmp_path):
    for name, x in (("a", np.ones((2, 3))), ("b", np.ones((2, 4))), ("c", np.ones((2, 3), "f4"))):
        np.savez(tmp_path / f"{name}.npz", x=x)
    read = fh.distributed.read_arrays
    for paths, name, message in (
        ([], "x", "paths is empty"),
        (["a"], "y", "has no array 'y': name one of 'x'"),
        (["a", "b"], "x", r"float64 of shape \(2, 4\)"),
        (["a", "c"], "x", "holds float32"),
    ):
        with pytest.raises(ValueError, match=message):
            read([tmp_path / f"{path}.npz" for path in paths], name=name)
    with pytest.raises(FileNotFoundError):
        read([tmp_path / "none.npz"], name="x")
