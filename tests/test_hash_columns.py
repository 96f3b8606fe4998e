"""Columns of hashes as `--codes` of commands: what is certain is read, what is not is refused."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import fasthash as fh
from command_line import result, run
from fasthash.codes import from_hex, from_integers, to_hex
from fasthash.commands.codes import read_codes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, cells, column="phash"):
    """A table of text whose other column keeps it from being a matrix, or a file of lines."""
    with open(name, "w", encoding="utf-8", newline="") as file:
        if name.endswith(".txt"):
            file.write("\n".join(cells) + "\n")
        else:
            file.write(f"file,{column}\n" + "".join(f"f{i}.jpg,{x}\n" for i, x in enumerate(cells)))
    return name if name.endswith(".txt") else f"{name}:{column}"


HEX = ["007f00ff12345678", "c3d1f00b5a9e7c24", "0000000000000001"]


@pytest.mark.parametrize(
    ("cells", "n_bits", "expected"),
    [
        (HEX, None, from_hex(HEX)),
        (HEX, 64, from_hex(HEX)),
        ([x.upper() for x in HEX], None, from_hex(HEX)),
        # All are decimal digits, but integers are not written with leading zeros.
        (["0000000000000012", "1234567812345678"], None, [[0] * 7 + [18], [18, 52, 86, 120] * 2]),
        # As numbers these would be 1234e5 and so on.
        (["1234e567", "12345678"], None, [[0x12, 0x34, 0xE5, 0x67], [0x12, 0x34, 0x56, 0x78]]),
        (["1e10", "2e10"], None, [[0x1E, 0x10], [0x2E, 0x10]]),
        (["-1", "5"], 64, [[255] * 8, [0] * 7 + [5]]),
        (["18446744073709551615", "5"], 64, [[255] * 8, [0] * 7 + [5]]),
        (["12", "5"], 12, [[0, 0xC0], [0, 0x50]]),
        # As str(ImageHash) writes 9 bits, and as whole bytes.
        (["1ff", "001"], 9, [[255, 128], [0, 128]]),
        (["ff80", "0080"], 9, [[255, 128], [0, 128]]),
        (["110000001", "011000000"], 9, [[192, 128], [96, 0]]),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.txt"])
def test_what_is_certain_is_read(folder, name, cells, n_bits, expected):
    codes, length = read_codes(write(name, cells), n_bits)
    np.testing.assert_array_equal(codes, expected)
    assert length == n_bits or (n_bits is None and length == 4 * len(cells[0]))


AMBIGUOUS = ["1234567812345678", "8765432187654321"]


def test_decimal_digits_of_one_length_are_refused_until_it_is_said_what_they_are(folder):
    source = write("t.csv", AMBIGUOUS)
    for n_bits in (None, 64):
        with pytest.raises(
            ValueError,
            match=r"^t.csv:phash holds only decimal digits, as in 1234567812345678, which can be "
            r"hexadecimal text or integers: .* by --read-as hex or --read-as integers$",
        ):
            read_codes(source, n_bits)
    np.testing.assert_array_equal(read_codes(source, None, "hex")[0], from_hex(AMBIGUOUS))
    numbers = from_integers(list(map(int, AMBIGUOUS)), 64)
    np.testing.assert_array_equal(read_codes(source, 64, "integers")[0], numbers)


def test_zeros_and_ones_are_refused_until_it_is_said_what_they_are(folder):
    source = write("t.csv", ["01010101", "00000001"])
    with pytest.raises(ValueError, match=r"hexadecimal text or text of 0 and 1: .*--read-as bits$"):
        read_codes(source)
    assert read_codes(source, None, "bits")[0].tolist() == [[0x55], [1]]
    assert read_codes(source, None, "hex")[0].tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]
    # An index knows how long its codes are.
    assert read_codes(source, 8)[0].tolist() == [[0x55], [1]]
    assert read_codes(source, 32)[0].tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("cells", "n_bits", "read_as", "message"),
    [
        (["ff00", "ff"], None, None, r"t.csv:h\[1\] is 'ff': it has 2 digits, and 4 are needed"),
        (["ff", "00ff", "ff00"], None, None, r"t.csv:h\[0\] is 'ff': it has 2 digits"),
        (["ff00", "fg00"], None, None, r"t.csv:h\[1\] is 'fg00': 'g' is not a hexadecimal digit"),
        (["ff00", "fg00"], 64, None, r"t.csv:h\[1\] is 'fg00': 'g' is not a hexadecimal digit"),
        (["ff00", '""'], None, None, r"t.csv:h\[1\] is '': it has no digits"),
        (["0xff", "0x0f"], None, None, r"t.csv:h\[0\] is '0xff': the prefix 0x is not accepted"),
        (["fff", "0ff"], None, None, r"t.csv:h holds hashes of 3 .* an odd number: .*--bits 12$"),
        (
            ["ff00", "00ff"],
            64,
            None,
            r"hashes of 4 hexadecimal digits, and codes of 64 bits have 16",
        ),
        (["12", "-5"], None, None, r"t.csv:h holds integers, .*say it by --bits"),
        (["256", "-5"], 8, None, r"t.csv:h\[0\] is 256: signed numbers of n_bits=8 end at 127"),
        (["12", "a5"], 8, "integers", r"t.csv:h\[1\] is 'a5', which is not an integer: correct"),
        (["12", "a5"], 8, "bits", r"t.csv:h\[0\] is '12': '2' is not 0 or 1"),
        ([], None, None, r"t.csv:h has no rows"),
    ],
)
def test_what_is_refused_names_source_and_row(folder, cells, n_bits, read_as, message):
    with pytest.raises(ValueError, match=message):
        read_codes(write("t.csv", cells, "h"), n_bits, read_as)


def test_files_that_know_the_type_of_a_column(folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    numbers = [-1, 1234567812345678]
    table = pyarrow.table({"text": HEX[:2], "decimal": AMBIGUOUS, "number": numbers})
    parquet.write_table(table, "t.parquet")
    np.testing.assert_array_equal(read_codes("t.parquet:text")[0], from_hex(HEX[:2]))
    expected = from_integers(numbers, 64, signed=True)
    np.testing.assert_array_equal(read_codes("t.parquet:number", 64)[0], expected)
    with pytest.raises(ValueError, match="--read-as hex or --read-as integers"):
        read_codes("t.parquet:decimal")
    with pytest.raises(ValueError, match=r"--read-as hex is for text, and .* holds int64"):
        read_codes("t.parquet:number", 64, "hex")
    np.save("t.npy", np.array([[1], [2**64 - 1]], np.uint64))
    assert read_codes("t.npy", 64)[0].tolist() == [[0] * 7 + [1], [255] * 8]


def test_arrays_that_are_no_column(folder):
    np.save("packed.npy", np.array([[7, 9]], np.uint8))
    assert read_codes("packed.npy")[0].tolist() == [[7, 9]]
    with pytest.raises(
        ValueError, match=r"--read-as is for a column .* holds uint8 of shape \(2, 3\)"
    ):
        np.save("packed.npy", np.zeros((2, 3), np.uint8))
        read_codes("packed.npy", None, "hex")
    # It may be a single packed code.
    np.save("one.npy", np.array([7, 9], np.uint8))
    with pytest.raises(ValueError, match=r"holds uint8 of shape \(2,\), and packed codes are"):
        read_codes("one.npy", 8)
    np.save("floats.npy", np.array([7.0, 9.0]))
    with pytest.raises(ValueError, match=r"holds float64 of shape \(2,\), and packed codes are"):
        read_codes("floats.npy", 8)


DIGITS = st.sampled_from(["0123456789", "01", "0123456789abcdef", "123456789"])


@st.composite
def columns(draw):
    alphabet, n_bytes = draw(DIGITS), draw(st.sampled_from([1, 2, 8]))
    text = st.text(alphabet, min_size=2 * n_bytes, max_size=2 * n_bytes)
    return draw(st.lists(text, min_size=1, max_size=5))


@given(cells=columns(), known=st.booleans(), name=st.sampled_from(["t.csv", "t.txt"]))
@example(cells=["0" * 16], known=True, name="t.csv")
def test_a_hash_is_never_read_as_something_else(tmp_path_factory, cells, known, name):
    source = write(str(tmp_path_factory.mktemp("t") / name), cells)
    codes, n_bits = from_hex(cells), 4 * len(cells[0])
    assert to_hex(codes) == cells
    found, length = read_codes(source, None, "hex")
    np.testing.assert_array_equal(found, codes)
    assert length == n_bits
    try:
        found, _ = read_codes(source, n_bits if known else None)
    except ValueError as error:
        assert "--read-as hex" in str(error) and set("".join(cells)) <= set("0123456789")
    else:
        np.testing.assert_array_equal(found, codes)


def test_commands_take_hashes(folder, capsys):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (40, 8), np.uint8)
    photos = write("photos.csv", to_hex(codes))
    assert result(capsys, f"index build p.index --codes {photos}")["n_bits"] == 64
    np.testing.assert_array_equal(fh.load("p.index").codes, codes)
    signed = fh.codes.to_integers(codes[:5], signed=True)
    rows = write("rows.csv", list(map(str, signed)))
    assert result(capsys, f"index add p.index --codes {rows}")["n"] == 45
    np.testing.assert_array_equal(fh.load("p.index").codes[40:], codes[:5])
    found = result(capsys, f"search p.index --codes {photos} --rows 7:8 -k 1")
    assert (found["ids"], found["distances"]) == ([7], [0])
    assert "needs" not in run(capsys, f"index build q.index --codes {rows} --bits 64")[1]
    assert "--bits 64" in run(capsys, f"index build r.index --codes {rows}", status=1)[1]
    bits = write("bits.csv", ["110000001", "111111111"])
    build = f"index build b.index --codes {bits} --read-as bits"
    assert result(capsys, build)["n_bits"] == 9
    features = "search p.index --features p.npy --signs --read-as hex"
    for command in (features, "search p.index --codes - --read-as hex"):
        assert "--read-as goes with --codes" in run(capsys, command, status=1)[1]
