"""What files hold: every array is read as its writer wrote it, or named with the reason."""

import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

import fasthash as fh
from fasthash._core.files import identify
from fasthash.datasets import list_arrays, read_array
from fasthash.datasets._file_formats import find_arrays
from fasthash.datasets.readers import read_numbers, read_texts


def hdf5():
    return pytest.importorskip("h5py")


# --- what a file is -------------------------------------------------------------------------------


def test_a_file_is_known_by_its_first_bytes(tmp_path):
    index = fh.HammingIndex(n_bits=8)
    index.add(np.zeros((2, 1), np.uint8))
    index.save(tmp_path / "index.csv")
    fh.interchange.write_faiss(tmp_path / "faiss.csv", np.zeros((2, 1), np.uint8))
    np.save(tmp_path / "a.npy", np.eye(2))
    (tmp_path / "npy.csv").write_bytes((tmp_path / "a.npy").read_bytes())
    np.savez(tmp_path / "a.npz", x=np.eye(2))
    (tmp_path / "npz.csv").write_bytes((tmp_path / "a.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "zip.csv", "w") as archive:
        archive.writestr("x/data.pkl", b"")
    savemat(tmp_path / "a.mat", {"x": np.eye(2)})
    (tmp_path / "mat.csv").write_bytes((tmp_path / "a.mat").read_bytes())
    (tmp_path / "empty.csv").touch()
    (tmp_path / "csv.csv").write_text("a,b\n")
    (tmp_path / "txt.txt").write_text("a,b\n")
    (tmp_path / "unknown.pdf").write_text("%PDF")
    (tmp_path / "pickle.csv").write_bytes(pickle.dumps([1]))
    for path in tmp_path.iterdir():
        if path.stem != "a":
            assert identify(path) == path.stem


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.pt",
            "zip",
            r"x\.pt is a zip archive: it holds no \.npy files; save the tensors of a PyTorch",
        ),
        ("x.csv", b"", r"x\.csv is empty: it has no bytes$"),
        ("x.npz", "no arrays", r"x\.npz is a \.npz archive of arrays and holds no arrays"),
        ("x.pkl", pickle.dumps([1]), r"pickles can run programs and are never read"),
        ("x.csv.gz", b"\x1f\x8b\x08\x00", r"is a compressed file: decompress it first"),
        ("x.bin", b"what", r"is of no known format: these are read: \.npy"),
    ],
)
def test_what_holds_no_arrays_says_what_it_is(tmp_path, capsys, name, content, message):
    from fasthash.cli import main

    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            if content == "zip":
                archive.writestr("x/data.pkl", pickle.dumps([1]))
    for read in (list_arrays, read_array):
        with pytest.raises(ValueError, match=message):
            read(path)
    assert main(["info", str(path)]) == 1
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match=r"holds neither an index nor a model of fasthash"):
        fh.load(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no FIFOs")
@pytest.mark.parametrize("read", [list_arrays, read_array, fh.load, fh.HammingIndex.load])
def test_folders_and_pipes_are_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "fifo.npy")
    with pytest.raises(ValueError, match=r"fifo\.npy is a pipe or a device"):
        read(tmp_path / "fifo.npy")
    with pytest.raises(ValueError, match=r"is a folder: name a file in it"):
        read(tmp_path)


def test_info_names_what_is_not_read(tmp_path, capsys):
    from fasthash.cli import main

    savemat(tmp_path / "x.mat", {"x": np.eye(2), "s": {"a": 1}})
    assert main(["info", str(tmp_path / "x.mat")]) == 0
    out = capsys.readouterr().out
    assert "2 arrays" in out
    assert "s  (1, 1)  struct  not read: is a MATLAB struct: save its fields" in out


def test_load_says_what_reads_other_files(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(2))
    with pytest.raises(ValueError, match=r"it is a \.npy array, which fasthash\.datasets"):
        fh.load(tmp_path / "x.npy")
    fh.interchange.write_faiss(tmp_path / "x.faiss", np.zeros((2, 1), np.uint8))
    with pytest.raises(ValueError, match=r"which fasthash\.interchange\.read_faiss reads"):
        fh.load(tmp_path / "x.faiss")
    with pytest.raises(ValueError, match=r"read it with fasthash\.interchange\.read_faiss"):
        read_array(tmp_path / "x.faiss")


# --- numpy ----------------------------------------------------------------------------------------


def npy(header):
    text = repr(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("shape", [(-1, 3), (2, -3), (-2, -3)])
def test_lengths_below_zero_are_refused(tmp_path, shape):
    header = npy({"descr": "<f8", "fortran_order": False, "shape": shape})
    (tmp_path / "x.npy").write_bytes(header + bytes(48))
    with pytest.raises(ValueError, match=r"x\.npy cannot be read as npy: its header gives the sha"):
        read_array(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header + bytes(48))
    with pytest.raises(ValueError, match="which has a negative length"):
        read_array(tmp_path / "x.npz")


def test_compressed_arrays_longer_than_their_content_are_refused(tmp_path):
    header = npy({"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 3)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header + bytes(48))
    with pytest.raises(ValueError, match=r"x\.npz cannot be read as npz: it ends before the"):
        read_array(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.arange(3).astype("<u2").view("V2"), "items of 2 bytes .* numpy writes bfloat16"),
        (np.zeros(2, [("a", int), ("b", float)]), "records of the fields a, b"),
        (np.array([1j]), "complex numbers"),
        (np.array(["2020-01-01"], "M8[D]"), "dates or times"),
        (np.array([[1], "a"], object), "Python objects, .* save numbers or strings instead"),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz", "compressed.npz"])
def test_arrays_of_other_kinds_are_named_and_refused(tmp_path, array, message, kind):
    path = tmp_path / f"x.{kind}"
    if kind == "npy":
        np.save(path, array, allow_pickle=True)
    else:
        save = np.savez if kind == "npz" else np.savez_compressed
        save(path, x=array, y=np.eye(2))
        assert list_arrays(path)["y"] == ((2, 2), "float64")
    source = path if kind == "npy" else f"{path}:x"
    with pytest.raises(ValueError, match=rf"x\.{kind}\S* holds {message}"):
        read_array(source)
    (one, *_) = find_arrays(path).values()
    assert one.shape == array.shape and one.refusal


def test_other_members_of_an_archive_are_named(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.eye(2))
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert list_arrays(tmp_path / "x.npz")["readme.txt"] == ((), "no array")
    with pytest.raises(ValueError, match=r"readme\.txt is not a \.npy file"):
        read_array(f"{tmp_path}/x.npz:readme.txt")
    file = io.BytesIO()
    np.save(file, np.eye(3))
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("x.npy", file.getvalue())
    with pytest.raises(ValueError, match="it holds 'x' twice"):
        read_array(f"{tmp_path}/x.npz:x")


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2", ">i2", "?", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_byte_orders_and_memory_orders(tmp_path, dtype, order):
    x = np.random.default_rng(0).integers(0, 2, (20, 6))
    x[~x.any(axis=1), 0] = 1
    x = x.astype(dtype)
    np.save(tmp_path / "x.npy", np.asarray(x, order=order))
    read = read_numbers(tmp_path / "x.npy")
    np.testing.assert_array_equal(read, x)
    plain = {"a": x.astype(np.float64), "b": x.astype(np.float64)}
    expected = fh.CCAITQ(2, random_state=0).fit(plain).codes_["a"]
    codes = fh.CCAITQ(2, random_state=0).fit({"a": read, "b": plain["b"]}).codes_["a"]
    np.testing.assert_array_equal(codes, expected)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_bytes_are_text_where_they_are_utf_8(tmp_path, save):
    save(tmp_path / "x.npz", x=np.array(["Côte".encode(), b"a"]), y=np.array([b"\xff"]))
    assert read_texts(f"{tmp_path}/x.npz:x").tolist() == ["Côte", "a"]
    with pytest.raises(ValueError, match=r"x\.npz:y cannot be read as npz: .*utf-8"):
        read_array(f"{tmp_path}/x.npz:y")


# --- MATLAB ---------------------------------------------------------------------------------------


def cell(*values, shape=None):
    out = np.empty(len(values), object)
    out[:] = values
    return out.reshape(shape or (len(values), 1))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (cell("cat", "", "a dog"), ["cat", "", "a dog"]),
        (cell(np.array([[1.0, 2]]), np.array([[3.0, 4]])), [[1, 2], [3, 4]]),
        (cell(np.array([[1.0], [2]]), np.array([[3.0], [4]])), [[1, 2], [3, 4]]),
        (cell(1.0, 2.0, 3.0, 4.0, shape=(1, 4)), [[1, 2, 3, 4]]),
        (cell(1.0, 2.0, 3.0, 4.0, shape=(2, 2)), [[1, 2], [3, 4]]),
        (cell("a", "b", "c", "d", shape=(2, 2)), [["a", "b"], ["c", "d"]]),
        (np.array(["cat", "mouse"]), ["cat", "mouse"]),
        (np.array(["cat "]), ["cat "]),
    ],
)
def test_cells_and_characters_of_matlab(tmp_path, value, expected):
    savemat(tmp_path / "x.mat", {"x": value})
    read = read_array(tmp_path / "x.mat")
    if read.dtype.kind == "U" and read.shape[1:] == (1,):
        read = read.reshape(-1)
    assert read.tolist() == expected
    assert list_arrays(tmp_path / "x.mat")["x"][1] in ("cell", "text")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": 1}, r"x\.mat:x is a MATLAB struct: save its fields as arrays"),
        (cell(np.eye(2), np.eye(3)), r"x\.mat:x is a cell whose element 2 is float64 of shape \(3"),
        (cell("a", 1.0), r"is a cell whose element 2 is float64 of shape \(1, 1\), and whose"),
        (cell({"a": 1}, {"a": 2}), r"whose element 1 is neither a text nor numbers"),
        (
            cell(np.eye(2), np.eye(2)),
            r"of arrays of shape \(2, 2\): use a one-dimensional cell of vec",
        ),
        (np.array([[1j]]), r"x\.mat:x holds complex numbers"),
    ],
)
def test_what_matlab_holds_besides_is_refused_by_name(tmp_path, value, message):
    savemat(tmp_path / "x.mat", {"x": value, "y": np.eye(2)})
    assert list(list_arrays(tmp_path / "x.mat")) == ["x", "y"]
    with pytest.raises(ValueError, match=message):
        read_array(f"{tmp_path}/x.mat:x")


def test_cells_characters_and_structs_of_matlab_7_3(tmp_path):
    h5py = hdf5()
    path = tmp_path / "x.mat"
    with h5py.File(path, "w", userblock_size=512) as file:

        def put(name, value, kind):
            item = file.create_dataset(name, data=value)
            item.attrs["MATLAB_class"] = np.bytes_(kind)
            return item

        def chars(name, text):
            if text:
                return put(name, np.frombuffer(text.encode("utf-16-le"), "<u2")[:, None], "char")
            item = put(name, np.zeros(2, np.uint64), "char")
            item.attrs["MATLAB_empty"] = np.uint8(1)
            return item

        refs = [chars(f"#refs#/{i}", text).ref for i, text in enumerate(["cat", "", "Côte 🐈"])]
        put("names", np.array([refs], h5py.ref_dtype), "cell")
        vectors = [put(f"#refs#/v{i}", np.full((1, 3), i), "double").ref for i in range(2)]
        put("vectors", np.array([vectors], h5py.ref_dtype), "cell")
        put("#refs#/w", np.zeros((2, 2)), "double")
        put("uneven", np.array([[vectors[0], file["#refs#/w"].ref]], h5py.ref_dtype), "cell")
        padded = np.array([list(b"cat  "), list(b"mouse")], np.uint16)
        put("padded", padded.T, "char")
        put("table", np.zeros((1, 6), np.uint32), "table")
        group = file.create_group("s")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        put("s/x", np.arange(6.0).reshape(3, 2), "double")
        put("f", np.zeros((1, 1), np.uint8), "function_handle")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    assert read_texts(f"{path}:names").tolist() == ["cat", "", "Côte 🐈"]
    assert read_array(f"{path}:vectors").tolist() == [[0, 0, 0], [1, 1, 1]]
    assert read_texts(f"{path}:padded").tolist() == ["cat", "mouse"]
    assert np.asarray(read_array(f"{path}:s/x")).tolist() == [[0, 2, 4], [1, 3, 5]]
    with pytest.raises(ValueError, match=r":uneven is a cell whose element 2 is float64 of shape"):
        read_array(f"{path}:uneven")
    with pytest.raises(ValueError, match=r":f is a MATLAB function"):
        read_array(f"{path}:f")
    assert list_arrays(path)["names"] == ((3, 1), "cell")


# --- HDF5 -----------------------------------------------------------------------------------------


def test_every_item_of_hdf5_is_read_or_named(tmp_path):
    h5py = hdf5()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(range(64)))
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.eye(3, dtype=np.float16)
        file["same"] = file["x"]
        file["again/loop"] = file["/"]
        file["soft"] = h5py.SoftLink("/x")
        file["other"] = h5py.ExternalLink("other.h5", "/x")
        file["words"] = ["a", "Côte"]
        file["records"] = np.zeros(2, [("a", int)])
        file["complex"] = np.array([1j])
        file["nothing"] = h5py.Empty("f4")
        file["number"] = 3.5
        file.create_dataset("outside", (64,), "u1", external=[(str(secret), 0, 64)])
        file.create_dataset("lists", (2,), h5py.vlen_dtype(np.int32))
        file.create_dataset("pointers", (2,), h5py.ref_dtype)
        file["bf16"] = np.arange(3).astype("<u2").view("V2")
        layout = h5py.VirtualLayout((3, 3), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (3, 3))
        file.create_virtual_dataset("virtual", layout)
    with h5py.File(path) as file:
        names = set(file) - {"again"}
    found = find_arrays(path)
    assert set(found) == names
    read = {"x", "same", "words", "number"}
    assert {name for name, array in found.items() if not array.refusal} == read
    for name in names - read:
        with pytest.raises(ValueError, match=rf"x\.h5:{name} (holds|is|lies)"):
            read_array(f"{path}:{name}")
    np.testing.assert_array_equal(read_array(f"{path}:same"), np.eye(3))
    assert read_texts(f"{path}:words").tolist() == ["a", "Côte"]
    assert read_array(f"{path}:number") == 3.5
