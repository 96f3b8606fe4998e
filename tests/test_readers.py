"""Arrays of files: every format, as its own writer writes it, read back and refused by name."""

import io
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.sparse import csc_array

import fasthash as fh
from fasthash.datasets import list_arrays, read_array
from fasthash.datasets._found_arrays import SlicedRows
from fasthash.datasets.readers import read_labels, read_numbers, read_texts, split_source

X = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
Y = np.arange(7)


def write_npy(path):
    np.save(path, X)
    return str(path), path


def write_npz(path):
    np.savez(path, x=X, y=Y)
    return f"{path}:x", path


def write_compressed_npz(path):
    np.savez_compressed(path, x=X, y=Y)
    return f"{path}:x", path


def write_mat(path):
    savemat(path, {"x": X, "y": Y})
    return f"{path}:x", path


def write_hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["train/x"] = X
        file["y"] = Y
    return f"{path}:train/x", path


def write_mat_7_3(path):
    """As MATLAB does: HDF5 behind a header, the first axis last, the class as an attribute."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = X.T
        file["x"].attrs["MATLAB_class"] = np.bytes_("single")
        file["y"] = Y[:, None].astype(float)
        file["y"].attrs["MATLAB_class"] = np.bytes_("double")
        labels = csc_array(np.eye(7)[:, :4])
        group = file.create_group("l")
        group.attrs["MATLAB_sparse"] = np.uint64(7)
        group.attrs["MATLAB_class"] = np.bytes_("double")
        group["data"], group["ir"], group["jc"] = labels.data, labels.indices, labels.indptr
        file["words"] = np.frombuffer(b"ab", np.uint8)[:, None]
        file["words"].attrs["MATLAB_class"] = np.bytes_("char")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return f"{path}:x", path


def arrow_table():
    pa = pytest.importorskip("pyarrow")
    return pa.table(
        {
            "x": pa.array(list(X), pa.list_(pa.float32())),
            "fixed": pa.FixedSizeListArray.from_arrays(X.ravel(), 3),
            "y": Y,
            "words": [f"word {i}" for i in Y],
            "kind": pa.array(["a", "b", "a", "a", "b", "a", "b"]).dictionary_encode(),
        }
    )


def write_parquet(path):
    table = arrow_table()
    from pyarrow import parquet

    parquet.write_table(table, path)
    return f"{path}:x", path


def write_feather(path):
    table = arrow_table()
    from pyarrow import feather

    feather.write_feather(table, str(path), compression="uncompressed")
    return f"{path}:fixed", path


def write_csv(path):
    names = ",".join(f"f{i}" for i in range(3))
    path.write_text(names + "\n" + "\n".join(",".join(map(str, row)) for row in X.tolist()))
    return str(path), path


WRITERS = {
    "npy": write_npy,
    "npz": write_npz,
    "compressed.npz": write_compressed_npz,
    "mat": write_mat,
    "h5": write_hdf5,
    "7.3.mat": write_mat_7_3,
    "parquet": write_parquet,
    "feather": write_feather,
    "csv": write_csv,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_matrix_comes_back(tmp_path, kind):
    source, path = WRITERS[kind](tmp_path / f"feats.{kind}")
    read = read_numbers(source)
    assert read.shape == X.shape
    np.testing.assert_array_equal(np.asarray(read, np.float32), X)
    np.testing.assert_array_equal(np.asarray(read[2:5], np.float32), X[2:5])
    listed = list_arrays(path)
    if kind != "csv":
        assert X.shape in [shape for shape, _ in listed.values()]


@pytest.mark.parametrize("kind", WRITERS)
def test_models_take_what_is_read(tmp_path, kind):
    source, _ = WRITERS[kind](tmp_path / f"feats.{kind}")
    given = {"a": read_numbers(source), "b": X.astype(np.float64)}
    expected = {"a": X, "b": X.astype(np.float64)}
    if kind == "csv":
        expected["a"] = X.astype(np.float64)
    codes = fh.CCAITQ(4, random_state=0).fit(given).codes_["a"]
    np.testing.assert_array_equal(codes, fh.CCAITQ(4, random_state=0).fit(expected).codes_["a"])


@pytest.mark.parametrize("kind", ["npy", "npz", "h5", "7.3.mat"])
def test_large_arrays_stay_in_the_file(tmp_path, kind):
    source, _ = WRITERS[kind](tmp_path / f"feats.{kind}")
    read = read_array(source)
    if isinstance(read, SlicedRows):
        read = read._source
    assert isinstance(read, np.memmap) or type(read).__module__.startswith("h5py")


@pytest.mark.parametrize("kind", [*WRITERS])
def test_cut_off_files_are_refused_in_one_line(tmp_path, kind):
    source, path = WRITERS[kind](tmp_path / f"feats.{kind}")
    content = path.read_bytes()
    if kind == "csv":
        content = content[:-30] + b"\n1"
    path.write_bytes(content[: len(content) * 2 // 3] if kind != "csv" else content)
    with pytest.raises(ValueError, match=r"feats\.") as refusal:
        np.asarray(read_array(source))
    assert "\n" not in str(refusal.value)


@given(
    junk=st.binary(max_size=300), start=st.sampled_from([b"\x93NUMPY\x01\x00", b"PK\x03\x04", b""])
)
def test_junk_is_refused(tmp_path_factory, junk, start):
    path = tmp_path_factory.mktemp("junk") / "junk.npy"
    path.write_bytes(start + junk)
    # Junk may begin as a file of Parquet does.
    refusals = (ValueError,) if find_spec("pyarrow") else (ValueError, ImportError)
    with pytest.raises(refusals, match=r"junk\.npy"):
        read_array(path)


def test_matlab_7_3_classes_and_sparse_labels(tmp_path):
    _, path = write_mat_7_3(tmp_path / "feats.mat")
    assert list_arrays(path) == {
        "l": ((7, 4), "sparse"),
        "words": ((1,), "text"),
        "x": ((7, 3), "float32"),
        "y": ((1, 7), "float64"),
    }
    np.testing.assert_array_equal(read_labels(f"{path}:l").toarray(), np.eye(7)[:, :4])
    labels = read_labels(f"{path}:y")
    np.testing.assert_array_equal(labels, Y)
    assert labels.dtype == np.int64


def test_matlab_5_sparse_and_text(tmp_path):
    path = tmp_path / "feats.mat"
    savemat(path, {"l": csc_array(np.eye(4)), "cells": np.array([X, "word"], dtype=object)})
    assert list_arrays(path) == {"l": ((4, 4), "sparse"), "cells": ((1, 2), "cell")}
    with pytest.raises(ValueError, match=r"feats\.mat:cells is a cell whose element 2 is a text"):
        read_array(f"{path}:cells")
    np.testing.assert_array_equal(read_labels(f"{path}:l").toarray(), np.eye(4))
    np.testing.assert_array_equal(read_numbers(f"{path}:l"), np.eye(4))


def test_parquet_texts_and_missing_values(tmp_path):
    _, path = write_parquet(tmp_path / "t.parquet")
    assert read_texts(f"{path}:words")[3] == "word 3"
    assert read_labels(f"{path}:kind").tolist() == ["a", "b", "a", "a", "b", "a", "b"]
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"y": [1, None], "x": [[1.0, 2.0], [1.0]]}), path)
    with pytest.raises(ValueError, match="lacks 1 of 2 values"):
        read_array(f"{path}:y")
    with pytest.raises(ValueError, match=r"t\.parquet:x is not a matrix: row"):
        read_array(f"{path}:x")


def test_captions(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text('id,caption\n1,"a cat, asleep"\n2,Côte d\'Ivoire\n', encoding="utf-8")
    assert read_texts(f"{path}:caption").tolist() == ["a cat, asleep", "Côte d'Ivoire"]
    assert read_array(f"{path}:id").tolist() == [1, 2]
    lines = tmp_path / "captions.txt"
    lines.write_text("one\ntwo\n")
    assert read_texts(lines).tolist() == ["one", "two"]
    path.write_text("id,caption\n1,a,b\n")
    with pytest.raises(ValueError, match="line 2 has 3 columns, and the first line has 2"):
        read_array(path)
    with pytest.raises(ValueError, match="names a column twice"):
        path.write_text("id,id\n1,2\n")
        read_array(path)


def test_what_is_not_there_is_refused_with_what_is(tmp_path):
    np.savez(tmp_path / "feats.npz", I_tr=X, L_tr=Y)
    with pytest.raises(ValueError, match=r"no array 'T_tr': it holds I_tr \(7, 3\) float32, L_tr"):
        read_array(f"{tmp_path}/feats.npz:T_tr")
    with pytest.raises(
        ValueError, match=r"several arrays, .*: name one, as in .*:I_tr or .*:L_tr$"
    ):
        read_array(tmp_path / "feats.npz")
    with pytest.raises(ValueError, match=r"int64 of shape \(7,\), and a matrix"):
        read_numbers(f"{tmp_path}/feats.npz:L_tr")
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "none.npy")
    (tmp_path / "what.pdf").write_text("no")
    with pytest.raises(ValueError, match=r"of no known format: these are read: \.npy"):
        read_array(tmp_path / "what.pdf")
    with pytest.raises(ValueError, match="folder"):
        read_array(tmp_path)


def test_pickles_are_never_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "opened"), "w")

    array = np.array([Bomb()], dtype=object)
    np.save(tmp_path / "bomb.npy", array)
    np.savez(tmp_path / "bomb.npz", x=array)
    np.savez_compressed(tmp_path / "compressed.npz", x=array)
    for source in ("bomb.npy", "bomb.npz:x", "compressed.npz:x"):
        with pytest.raises(ValueError, match="Python objects"):
            read_array(f"{tmp_path}/{source}")
    assert not (tmp_path / "opened").exists()


def test_a_member_may_lie_anywhere_in_an_archive(tmp_path):
    """Names of every length move the arrays behind them to every alignment."""
    path = tmp_path / "odd.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(9):
            file = io.BytesIO()
            np.save(file, X + i)
            archive.writestr("x" * (i + 1) + ".npy", file.getvalue())
    for i in range(9):
        read = read_array(f"{path}:{'x' * (i + 1)}")
        block = np.asarray(read[1:4])
        assert block.flags.aligned
        np.testing.assert_array_equal(block, X[1:4] + i)


def test_fortran_order_and_empty_arrays(tmp_path):
    np.savez(tmp_path / "f.npz", f=np.asfortranarray(X), none=np.zeros((0, 4)))
    np.testing.assert_array_equal(read_array(f"{tmp_path}/f.npz:f"), X)
    assert read_array(f"{tmp_path}/f.npz:none").shape == (0, 4)


def test_a_colon_belongs_to_a_name_only_where_no_file_has_it(tmp_path):
    path = tmp_path / "a:b.npy"
    np.save(path, X)
    assert split_source(path) == (str(path), None)
    assert split_source(r"C:\feats.npy") == (r"C:\feats.npy", None)
    assert split_source(r"C:\feats.npz:x") == (r"C:\feats.npz", "x")


@pytest.mark.parametrize("package", ["h5py", "pyarrow"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    from fasthash.datasets import _found_arrays as found_arrays

    source, _ = (write_hdf5 if package == "h5py" else write_parquet)(tmp_path / "feats.x")
    monkeypatch.setattr(found_arrays, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"{package}.*pip install 'fasthash-retrieval\[files\]'"):
        read_array(source)
