"""Columns of Parquet and Arrow files, and random arrays and tables in every format."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

import fasthash as fh
from fasthash.datasets import list_arrays, read_array
from fasthash.datasets.readers import read_labels, read_numbers


def arrow():
    return pytest.importorskip("pyarrow")


def hdf5():
    return pytest.importorskip("h5py")


def write_table(path, table):
    """Write an Arrow table as the name says."""
    pa = arrow()
    from pyarrow import feather, parquet

    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    elif path.suffix == ".stream":
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    else:
        feather.write_feather(table, str(path), compression="uncompressed")
    return str(path)


def columns():
    """A column of every kind: what it is, and what is read."""
    pa = arrow()
    words, codes = ["a", "Côte"], [b"ab", b"c\x00"]
    numbers = [[1.0, 2.0], [3.0, 4.0]]
    read = {
        "string": (pa.array(words), words),
        "large_string": (pa.array(words, pa.large_string()), words),
        "string_view": (pa.array(words, pa.string_view()), words),
        "categorical": (pa.array(words).dictionary_encode(), words),
        "numbered": (pa.array([7, 9]).dictionary_encode(), [7, 9]),
        "binary": (pa.array(codes), [list(code) for code in codes]),
        "large_binary": (pa.array(codes, pa.large_binary()), [list(code) for code in codes]),
        "binary_view": (pa.array(codes, pa.binary_view()), [list(code) for code in codes]),
        "fixed_binary": (pa.array(codes, pa.binary(2)), [list(code) for code in codes]),
        "list": (pa.array(numbers), numbers),
        "large_list": (pa.array(numbers, pa.large_list(pa.float32())), numbers),
        "fixed_list": (pa.array(numbers, pa.list_(pa.float32(), 2)), numbers),
        "half": (pa.array(np.array([1, 2], np.float16)), [1, 2]),
        "bool": (pa.array([True, False]), [True, False]),
        "a.b": (pa.array([5, 6]), [5, 6]),
    }
    refused = {
        "decimal": (pa.array([1, 2], pa.decimal128(10, 2)), "cast it to float64"),
        "timestamp": (pa.array([1, 2], pa.timestamp("us")), "cast it to int64, or to text"),
        "date": (pa.array([1, 2], pa.date32()), "or to text"),
        "time": (pa.array([1, 2], pa.time64("us")), "or to text"),
        "a": (pa.array([{"b": 1}, {"b": 2}]), "make a column of each of its fields"),
        "lists of words": (pa.array([["a"], ["b"]]), "0/1 columns of labels"),
        "lists of lists": (pa.array([[[1]], [[2]]]), "lists of numbers"),
        "nothing": (pa.nulls(2), "drop it"),
        "ragged": (pa.array([[1], [2, 3]]), "row 1 has 2 numbers, and row 0 has 1"),
        "ragged bytes": (pa.array([b"a", b"bc"]), "row 1 has 2 bytes, .* cast it to text"),
        "null": (pa.array(["a", None]), "lacks 1 of 2 values"),
        "null number": (pa.array([1, None]), "lacks 1 of 2 values"),
        "null list": (pa.array([[1, 2], None]), "lacks 1 of 2 values"),
        "null inside": (pa.array([[1, 2], [3, None]]), "lacks 1 of its numbers"),
        "NUL": (pa.array(["a", "b\0"]), "a text that ends with NUL, in row 1"),
    }
    return read, refused


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".stream"])
def test_columns_of_every_type(tmp_path, suffix):
    pa = arrow()
    read, refused = columns()
    table = pa.table({name: column for name, (column, _) in (read | refused).items()})
    path = write_table(tmp_path / f"x{suffix}", table)
    listed = list_arrays(path)
    assert list(listed) == table.column_names
    for name, (_, expected) in read.items():
        array = read_array(f"{path}:{name}")
        assert array.tolist() == expected
        dtype = "text" if array.dtype.kind == "U" else array.dtype.name
        assert listed[name] == (array.shape, dtype)
    for name, (_, message) in refused.items():
        with pytest.raises(ValueError, match=rf"x\{suffix}:{name} .*{message}"):
            read_array(f"{path}:{name}")


def test_nulls_among_the_values_of_a_dictionary(tmp_path):
    pa = arrow()
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None]))
    path = write_table(tmp_path / "x.feather", pa.table({"x": column}))
    with pytest.raises(ValueError, match="lacks 1 of 2 values"):
        read_labels(path)


def test_columns_with_one_name(tmp_path):
    pa = arrow()
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"])
    for suffix in (".parquet", ".feather"):
        with pytest.raises(ValueError, match="it names a column twice: x"):
            list_arrays(write_table(tmp_path / f"x{suffix}", table))


def test_a_table_with_a_column_that_is_not_read_is_no_matrix(tmp_path):
    pa = arrow()
    table = pa.table({"x": [1.0], "y": [2.0], "day": pa.array([1], pa.date32())})
    path = write_table(tmp_path / "x.parquet", table)
    with pytest.raises(ValueError, match=r"x\.parquet:day holds date32\[day\], and a matrix needs"):
        read_numbers(path)
    with pytest.raises(ValueError, match="several arrays"):
        read_array(path)
    assert read_numbers(write_table(tmp_path / "y.parquet", table.drop(["day"]))).tolist() == [
        [1, 2]
    ]


def test_codes_of_a_table_are_searched(tmp_path, capsys):
    from fasthash.cli import main

    pa = arrow()
    codes = np.random.default_rng(0).integers(0, 256, (9, 8), np.uint8)
    table = pa.table({"code": pa.array([bytes(code) for code in codes], pa.binary_view())})
    path = write_table(tmp_path / "x.stream", table)
    assert main(["index", "build", str(tmp_path / "i"), "--codes", f"{path}:code"]) == 0
    np.testing.assert_array_equal(fh.load(tmp_path / "i").codes, codes)


def test_polars_writes_views(tmp_path):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "s": ["a", "b"],
            "c": pl.Series(["x", "y"], dtype=pl.Categorical),
            "b": [b"ab", b"cd"],
            "l": [[1.0, 2.0], [3.0, 4.0]],
        }
    )
    expected = {
        "s": ((2,), "text"),
        "c": ((2,), "text"),
        "b": ((2, 2), "uint8"),
        "l": ((2, 2), "float64"),
    }
    frame.write_ipc(tmp_path / "x.arrow")
    frame.write_ipc_stream(tmp_path / "stream.arrow")
    frame.write_parquet(tmp_path / "x.parquet")
    for name in ("x.arrow", "stream.arrow", "x.parquet"):
        path = tmp_path / name
        assert list_arrays(path) == expected
        assert [read_array(f"{path}:{c}").tolist() for c in "scl"] == [
            ["a", "b"],
            ["x", "y"],
            [[1, 2], [3, 4]],
        ]
        assert read_array(f"{path}:b").tobytes() == b"abcd"


def test_the_index_of_pandas_is_no_feature(tmp_path):
    pd = pytest.importorskip("pandas")
    arrow()
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": [4.0, 5.0, 6.0]})
    frame.to_parquet(tmp_path / "x.parquet")
    np.testing.assert_array_equal(read_numbers(tmp_path / "x.parquet"), frame.to_numpy())
    frame.iloc[[0, 2, 1]].to_parquet(tmp_path / "some.parquet")
    for read in (read_numbers, read_array):
        with pytest.raises(ValueError, match="is the index of a pandas table and not a feature"):
            read(tmp_path / "some.parquet")
    with pytest.raises(ValueError, match="if pandas wrote its index there"):
        frame.to_csv(tmp_path / "x.csv")
        read_numbers(tmp_path / "x.csv")


# --- random arrays and tables ---------------------------------------------------------------------

DTYPES = st.sampled_from(["?", "u1", "i1", ">i2", "<i8", "<f2", ">f4", "<f8"])


@given(dtype=DTYPES, shape=st.tuples(st.integers(0, 4), st.integers(1, 4)), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_random_matrices_come_back_from_every_format(tmp_path_factory, dtype, shape, seed):
    pa, h5py = arrow(), hdf5()
    folder = tmp_path_factory.mktemp("x")
    x = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    np.save(folder / "x.npy", x)
    np.savez_compressed(folder / "x.npz", x=x)
    with h5py.File(folder / "x.h5", "w") as file:
        file["x"] = x
    sources = ["x.npy", "x.npz:x", "x.h5:x"]
    if x.dtype != np.float16:
        savemat(folder / "x.mat", {"x": x})
        sources.append("x.mat:x")
    if len(x):
        native = x.astype(x.dtype.newbyteorder("="))
        table = pa.table({f"c{i}": column for i, column in enumerate(native.T)})
        sources += [write_table(folder / f"x{s}", table) for s in (".parquet", ".stream")]
        rows = "".join(",".join(str(value * 1) for value in row) + "\n" for row in x.tolist())
        (folder / "x.csv").write_text(",".join(f"c{i}" for i in range(x.shape[1])) + "\n" + rows)
        sources.append("x.csv")
    for source in sources:
        if x.shape[1] == 1 and ":" not in source and source != "x.npy":
            # A table of one column is an array in one dimension.
            np.testing.assert_array_equal(read_array(folder / source), x[:, 0])
        else:
            np.testing.assert_array_equal(np.asarray(read_numbers(f"{folder / source}")), x)


@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.none(), st.text(max_size=4)),
            st.lists(st.one_of(st.none(), st.floats(width=32)), max_size=3),
            st.binary(min_size=1, max_size=2),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=40, deadline=None)
def test_random_columns_come_back_or_are_refused_by_name(tmp_path_factory, rows):
    pa = arrow()
    words, lists, codes = (list(column) for column in zip(*rows, strict=True))
    table = pa.table(
        {
            "words": pa.array(words, pa.string()),
            "lists": pa.array(lists, pa.list_(pa.float32())),
            "codes": pa.array(codes, pa.binary()),
        }
    )
    folder = tmp_path_factory.mktemp("x")
    given = {"words": words, "lists": lists, "codes": [list(code) for code in codes]}
    for suffix in (".parquet", ".stream"):
        path = write_table(folder / f"x{suffix}", table)
        assert list(list_arrays(path)) == ["words", "lists", "codes"]
        for name, values in given.items():
            try:
                read = read_array(f"{path}:{name}").tolist()
            except ValueError as error:
                assert f"x{suffix}:{name} " in str(error)
                lengths = {len(value) for value in values if isinstance(value, list)}
                flat = [v for value in values for v in (value or [None])] if lengths else values
                assert (
                    None in values
                    or None in flat
                    or len(lengths) > 1
                    or any(isinstance(value, str) and value.endswith("\0") for value in values)
                )
            else:
                np.testing.assert_equal(read, values)
