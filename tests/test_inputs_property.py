"""Random dtypes, shapes, containers and kinds of labels, against numpy.

A call gives the answer that numpy computes from the meaning of the input, or a TypeError or
ValueError that begins with the name of the argument. There is no third outcome.
"""

import contextlib
import os
import re
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fasthash as fh

DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "U3", "S3", "object", "M8[D]"),
]
RANGES = [(0, 1), (-1, 1), (0, 255), (-128, 127), (1, 1), (3, 9)]


def as_list(x):
    return x.tolist()


def as_fortran(x):
    return np.asfortranarray(x)


def as_read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def as_strided(x):
    return np.repeat(x, 2, axis=0)[::2]


def as_memmap(x):
    file = tempfile.NamedTemporaryFile(suffix=".npy", delete=False)
    np.save(file, x)
    file.close()
    mapped = np.load(file.name, mmap_mode="r")
    # Windows deletes no file that is mapped.
    with contextlib.suppress(PermissionError):
        os.unlink(file.name)
    return mapped


def as_pandas(x):
    return pytest.importorskip("pandas").DataFrame(x)


def as_polars(x):
    columns = {str(i): column for i, column in enumerate(x.T)}
    return pytest.importorskip("polars").DataFrame(columns)


def as_tensor(x):
    return pytest.importorskip("torch").tensor(x)


CONTAINERS = [
    lambda x: x,
    *(as_list, as_fortran, as_read_only, as_strided, as_memmap, as_pandas, as_polars, as_tensor),
]


@st.composite
def matrices(draw):
    """(what is passed, the values it holds, whether it is a list)."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(
        st.sampled_from([(4, 3), (1, 1), (3, 8), (2, 64), (7, 16), (0, 3), (3, 0), (4,), ()])
    )
    low, high = draw(st.sampled_from(RANGES))
    if dtype.kind == "u":
        low = max(low, 0)
    values = np.random.default_rng(draw(st.integers(0, 999))).integers(low, high + 1, shape)
    values = np.asarray(values).astype(dtype)
    # A data frame makes a column of one dimension.
    frames = (as_pandas, as_polars)
    container = draw(
        st.sampled_from([one for one in CONTAINERS if values.ndim == 2 or one not in frames])
    )
    try:
        given = container(values)
    except Exception:
        # No such container of this dtype or shape: not ours to judge.
        given = container = values
    return given, values, container is as_list


def outcome(function, name):
    """What a call gives, or None after an error that names the argument."""
    try:
        return function()
    except (TypeError, ValueError) as error:
        assert re.match(rf"({name})\b", str(error)), f"{name} is not named: {error}"
        assert str(error)[-1] not in ":,;" and len(str(error)) > len(name) + 8
        return None


@given(problem=matrices())
def test_pack_gives_the_signs_or_a_sentence(problem):
    given, values, is_list = problem
    before = values.copy()
    ours = outcome(lambda: fh.pack(given), "values")
    if ours is None:
        # What is never refused: booleans, and numbers with a sign.
        is_matrix = values.ndim == 2 and values.shape[1] > 0
        has_sign = values.dtype.kind in "fi" and values.size > 0 and (values < 0).any()
        assert not (is_matrix and (values.dtype.kind == "b" or has_sign))
        return
    # Python's numbers, in a list, have no dtype of their own.
    numbers = np.asarray(values.tolist() if is_list else values)
    # Refused where every bit would be 1 but the meaning could be another.
    bits = numbers.astype(bool) if numbers.dtype.kind in "bu" else numbers >= 0
    np.testing.assert_array_equal(ours, np.packbits(bits, axis=1))
    if numbers.dtype.kind == "i" and numbers.size:
        assert (numbers < 0).any() or (numbers == 1).all()
    if numbers.dtype.kind == "u":
        assert numbers.size == 0 or numbers.max() <= 1
    np.testing.assert_array_equal(values, before)


def packed_codes(values, is_list):
    """Bytes that the values stand for as packed codes, None where that is not certain."""
    if values.ndim != 2 or values.shape[1] == 0:
        return None
    if values.dtype == np.uint8 and not is_list:
        return values
    if values.dtype == np.int8 and not is_list:
        is_unpacked = values.size > 0 and np.abs(values.astype(int)).max() <= 1
        return None if is_unpacked else (values.astype(int) + 128).astype(np.uint8)
    if is_list and values.size and values.dtype.kind in "iuO":
        numbers = values.astype(object)
        if numbers.min() >= 0 and numbers.max() <= 255 and numbers.max() != 1:
            return values.astype(np.uint8)
    return None


@given(problem=matrices())
def test_distances_of_codes_are_those_of_their_bytes_or_a_sentence(problem):
    given, values, is_list = problem
    expected = packed_codes(values, is_list)
    ours = outcome(lambda: fh.distances(given, given), "a")
    if ours is None:
        assert expected is None
        return
    assert expected is not None, f"{values.dtype} {values.shape} was read without a word"
    bits = np.unpackbits(expected, axis=1).astype(int)
    np.testing.assert_array_equal(ours, np.abs(bits[:, None] - bits[None]).sum(axis=2))


@given(problem=matrices())
def test_every_search_reads_codes_as_distances_does(problem):
    given, values, is_list = problem
    expected = packed_codes(values, is_list)
    plain = None if expected is None else fh.rank(expected, expected).tolist()
    for name, function in (
        ("queries", lambda: fh.rank(given, given).tolist()),
        (
            "queries",
            lambda: fh.topk(given, given, max(1, values.shape[0] if values.ndim else 1))[
                1
            ].tolist(),
        ),
    ):
        ours = outcome(function, name)
        assert (ours or None) == (plain or None)


@st.composite
def labels(draw):
    """(what is passed for queries and database, which pairs share a label or None if refused)."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    n_classes = draw(st.sampled_from([1, 2, 3, 70]))
    y = rng.integers(0, n_classes, 12)
    columns = rng.random((12, n_classes)) < 0.4
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    names = np.array([f"name {i}" for i in range(n_classes)])
    same = np.equal.outer(y[:4], y[4:])
    shared = (columns[:4, None] & columns[None, 4:]).any(axis=2)
    two = n_classes > 1
    of_column = np.equal.outer(columns[:4, 0], columns[4:, 0])
    with_gap = names[y].astype(object)
    with_gap[0] = None
    kind, relevant = draw(
        st.sampled_from(
            [
                (y, same),
                (y.tolist(), same),
                (y[:, None], same),
                (y.astype(draw(st.sampled_from(["u1", "i2", "u8", "f2", "f8"]))), same),
                (y[:, None].astype(float), same),
                (names[y], same),
                (names[y].tolist(), same),
                (names[y].astype("S"), same),
                (names[y].astype(object)[:, None], same),
                (pandas.Series(names[y]).to_numpy(), same),
                (pandas.Categorical(names[y]), same),
                (polars.Series(names[y]), same),
                (columns, shared if two else None),
                (columns.astype(int), shared if two else of_column),
                (columns.astype(float).tolist(), shared if two else of_column),
                (columns.astype(object), shared if two else None),
                (sparse.csr_array(columns), shared),
                (sparse.csc_matrix(columns.astype(float)), shared),
                ([np.flatnonzero(row).tolist() for row in columns], None),
                (with_gap, None),
                (y - 1.5, None),
                (y.astype(complex), None),
                ([*names[y].tolist()[:-1], 7], None),
                (columns.astype(int) * 2, None if two and columns.any() else ...),
            ]
        )
    )
    return kind, relevant


@given(problem=labels(), ties=st.sampled_from(["database", "expected"]))
def test_labels_mean_what_numpy_says_or_a_sentence(problem, ties):
    given, relevant = problem
    rng = np.random.default_rng(0)
    queries, database = (rng.integers(0, 256, (n, 2), dtype=np.uint8) for n in (4, 8))
    queries[:, 0], database[:, 0] = 7, np.arange(8)
    if relevant is ...:
        return
    ours = outcome(
        lambda: fh.average_precision(queries, database, given[:4], given[4:], ties=ties),
        "query_labels|database_labels|labels",
    )
    if relevant is None:
        assert ours is None
        return
    assert ours is not None
    for i in range(4):
        alone = fh.average_precision(
            queries[[i]], database, [1], relevant[i].astype(int), ties=ties
        )
        np.testing.assert_array_equal(ours[[i]], alone)


@given(
    value=st.one_of(
        st.integers(-3, 9),
        st.integers(2**31, 2**80),
        st.floats(),
        st.booleans(),
        st.none(),
        st.text(max_size=2),
        st.sampled_from([np.int8(3), np.uint64(2), np.float32(2), np.bool_(True), np.array(3)]),
    ),
    name=st.sampled_from(["k", "radius", "n_bits", "n_threads"]),
)
def test_counts_are_integers_in_range_or_a_sentence(value, name):
    codes = np.arange(20, dtype=np.uint8)[:, None]
    calls = {
        "k": lambda: fh.topk(codes, codes, value, n_threads=1)[0].shape[1],
        "radius": lambda: fh.within(codes, codes, value, n_threads=1)[0][-1],
        "n_bits": lambda: fh.HammingIndex(value).n_bits,
        "n_threads": lambda: fh.topk(codes, codes, 1, n_threads=value)[0].shape[1],
    }
    ours = outcome(calls[name], name)
    is_count = isinstance(value, int | np.integer) and not isinstance(value, bool)
    is_count = is_count or (isinstance(value, np.ndarray) and value.ndim == 0)
    if name == "n_threads":
        assert (ours is not None) == (value is None or (is_count and value != 0 and value < 2**31))
        return
    lowest, highest = {"k": (1, 2**31), "radius": (0, 2**90), "n_bits": (1, 2**31)}[name]
    assert (ours is not None) == (is_count and lowest <= int(value) < highest)
    if ours is not None and name != "radius":
        assert ours == value
