"""Tables and lines of text: names stay as written, numbers are numbers, and lines are named."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthash.datasets import list_arrays, read_array
from fasthash.datasets.readers import read_labels, read_numbers, read_texts


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return str(path)


@pytest.fixture
def table(tmp_path):
    return lambda text, encoding="utf-8", name="t.csv": write(tmp_path / name, text, encoding)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["000123", "7"], ["000123", "7"]),
        (["01", "1", "1_0", "10"], ["01", "1", "1_0", "10"]),
        (["1e5", "2"], ["1e5", "2"]),
        (["+1", "2"], ["+1", "2"]),
        (["-0", "1"], ["-0", "1"]),
        (["1", "1.0"], ["1", "1.0"]),
        (["nan", "NaN"], ["nan", "NaN"]),
        (["nan", "inf"], ["nan", "inf"]),
        (["99999999999999999999", "1"], ["99999999999999999999", "1"]),
        ([" 1", "1"], [" 1", "1"]),
        (["1", "10", "-3"], [1, 10, -3]),
        (["0.1", "1e-07"], [0.1, 1e-07]),
    ],
)
def test_a_column_is_numbers_only_where_it_is_written_as_they_are(table, cells, expected):
    path = table("id,y\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    read = read_array(f"{path}:y")
    assert read.tolist() == expected
    assert read_texts(f"{path}:y").tolist() == cells
    assert len(set(read_labels(f"{path}:y").tolist())) == len(set(cells))


def test_features_are_read_in_any_spelling(table):
    path = table("a,b\n1.50,01\n+2e0, 3\n")
    np.testing.assert_array_equal(read_numbers(path), [[1.5, 1], [2, 3]])
    np.testing.assert_array_equal(read_array(path), [[1.5, 1], [2, 3]])
    assert list_arrays(path) == {"a": ((2,), "text of numbers"), "b": ((2,), "text of numbers")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,\n", r"t\.csv: line 3, column 'b' is blank"),
        (
            'a,b\n1,2\n"3\n",4\n5,x\n',
            r"t\.csv: line 5, column 'b' holds 'x', which is",
        ),
        ("a;b\n1;2\n1,5;3\n", r"t\.csv: line 3, column 'a' holds '1,5', which is not a number"),
        ("a,b\n1,1_0\n", r"line 2, column 'b' holds '1_0'"),
        ("a,b\n1,0x1\n", r"line 2, column 'b' holds '0x1'"),
        ("a,b\n1,2\n3\n", r"t\.csv cannot be read as csv: line 3 has 1 columns, and the first"),
        ("a,b\n1,2\n\n3,4\n", r"line 3 is blank"),
        ("a\n1\n\n", r'line 3 is blank: write ""'),
        ("a,a\n1,2\n", r"names a column twice: a"),
        (",0,1\n0,1,2\n", r"column 1 has no name: .*pandas"),
        ("0.5,1.5\n1,2\n", r"its first line must name the columns, and it holds only numbers"),
        ("0\n1\n1\n", r"it holds only numbers, 0"),
        ('a,b\n1,"2"3\n', r"line 2 is not a valid row of a table"),
        ('a,b\n1,2\n3,"4\n5,6\n', r"line 3 is not a valid row of a table: unexpected end of data"),
        ("\n1,2\n", r"it is empty"),
    ],
)
def test_what_is_no_matrix_is_refused_with_its_line(table, text, message):
    with pytest.raises(ValueError, match=message):
        read_numbers(table(text))


def test_one_blank_cell_is_named_and_not_several_arrays(table):
    with pytest.raises(ValueError, match=r"line 3, column 'b' is blank"):
        read_array(table("a,b\n1,2\n3,\n"))
    with pytest.raises(ValueError, match="several arrays"):
        read_array(table("a,b\n1,cat\n3,dog\n"))


def test_a_row_without_a_label_is_refused(table):
    with pytest.raises(ValueError, match=r"t\.csv:y has no label in row 1"):
        read_labels(table("y,z\n1,a\n,b\n") + ":y")
    assert read_texts(table("y,z\nx,a\n,b\n") + ":y").tolist() == ["x", ""]


def test_separators(table):
    expected = {"a": ((1,), "int64"), "b": ((1,), "text")}
    assert list_arrays(table("a;b\n1;x, y\n")) == expected
    assert list_arrays(table("a\tb\n1\tx, y\n")) == expected
    assert list_arrays(table("a\tb\n1\tx, y\n", name="t.tsv")) == expected
    assert list_arrays(table('"a","b"\n1,"x; y"\n')) == expected
    assert list_arrays(table('"a;b"\n1\n')) == {"a;b": ((1,), "int64")}


def test_names_that_pandas_counts(table):
    np.testing.assert_array_equal(read_numbers(table("0,1,2\n4,5,6\n")), [[4, 5, 6]])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["t.csv", "t.txt"])
def test_encodings_that_say_what_they_are(table, encoding, name):
    path = table("caption\nCôte d'Ivoire\n", encoding, name)
    assert read_texts(path).tolist()[-1] == "Côte d'Ivoire"


@pytest.mark.parametrize("name", ["t.csv", "t.txt"])
def test_other_encodings_are_refused_with_the_line(table, name):
    with pytest.raises(
        ValueError, match=r"line 2 holds bytes that are not UTF-8: save it as UTF-8"
    ):
        read_texts(table("caption\nCôte\n", "latin-1", name))
    with pytest.raises(ValueError, match="NUL bytes, like UTF-16"):
        read_texts(table("caption\nCôte\n", "utf-16-le", name))


def test_long_fields_and_line_breaks_in_them(table):
    long, broken = "x" * 200_000, "two\nlines, 1e5\u2028and \x85one"
    path = table(f'c,n\n{long},1\n"{broken}",2\n')
    limit = csv.field_size_limit()
    assert read_texts(f"{path}:c").tolist() == [long, broken]
    assert csv.field_size_limit() == limit


def test_lines_end_where_editors_end_them(table):
    path = table("a\u2028b\r\nc\x85d\x0ce\n\nf", name="t.txt")
    assert read_texts(path).tolist() == ["a\u2028b", "c\x85d\x0ce", "", "f"]


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["007", "1_0", "1e5", "+1", "-0", "", " 1", "nan"]),
)


@given(rows=st.lists(st.tuples(st.one_of(WORDS, NUMBERS), NUMBERS), min_size=1, max_size=6))
def test_texts_come_back_as_csv_wrote_them(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("a", "b"), *rows])
    for name, cells in zip("ab", zip(*rows, strict=True), strict=True):
        assert read_texts(f"{path}:{name}").tolist() == list(cells)
        values = read_array(f"{path}:{name}").tolist()
        assert [str(value) for value in values] == list(cells)


@given(
    x=st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=4),
    spelling=st.sampled_from([repr, "{:.18e}".format, "{:.9g}".format]),
)
def test_features_come_back_as_numbers(tmp_path_factory, x, spelling):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("f,g,h\n" + "\n".join(",".join(map(spelling, row)) for row in x))
    read = np.asarray(read_numbers(path), np.float32)
    np.testing.assert_array_equal(read, np.array(x, np.float32))
