"""Codes as hexadecimal text, integers, strings of 0 and 1, image hashes: round trips, refusals."""

import decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.codes import (
    from_bit_strings,
    from_hex,
    from_image_hashes,
    from_integers,
    to_bit_strings,
    to_hex,
    to_integers,
)
from strategies import WIDTHS

BITS = hnp.arrays(bool, st.tuples(st.integers(0, 5), st.sampled_from(WIDTHS)))


class ImageHash:
    """Bits and text as imagehash 4.3 has them."""

    def __init__(self, bits):
        self.hash = bits

    def __str__(self):
        digits = "".join(str(bit) for bit in 1 * self.hash.flatten())
        width = int(np.ceil(len(digits) / 4))
        return f"{int(digits, 2):0>{width}x}"

    def __repr__(self):
        return f"ImageHash({self})"

    def __len__(self):
        return self.hash.size


def numbers_of(bits):
    """Each row as a number, its first bit the most significant."""
    return [int("".join("01"[bit] for bit in row), 2) for row in bits.tolist()]


# --- round trips ----------------------------------------------------------------------------------


@given(BITS)
def test_hex_is_the_number_of_the_bits(bits):
    codes, n_bits = fh.pack(bits), bits.shape[1]
    hashes = [f"{number:0{(n_bits + 3) // 4}x}" for number in numbers_of(bits)]
    assert to_hex(codes, n_bits) == hashes
    np.testing.assert_array_equal(from_hex(hashes, n_bits), codes)
    np.testing.assert_array_equal(from_hex([x.upper() for x in hashes], n_bits), codes)


@given(BITS.filter(len))
def test_hex_without_a_length_is_the_hex_of_the_bytes(bits):
    codes = fh.pack(bits)
    assert to_hex(codes) == [bytes(code).hex() for code in codes]
    np.testing.assert_array_equal(from_hex(to_hex(codes)), codes)


@given(BITS)
def test_bit_strings_are_the_bits(bits):
    codes, n_bits = fh.pack(bits), bits.shape[1]
    texts = ["".join("01"[bit] for bit in row) for row in bits.tolist()]
    assert to_bit_strings(codes, n_bits) == texts
    np.testing.assert_array_equal(from_bit_strings(texts, n_bits), codes)
    if texts:
        np.testing.assert_array_equal(from_bit_strings(texts), codes)
        assert to_bit_strings(codes) == [f"{int(x, 16):0{4 * len(x)}b}" for x in to_hex(codes)]


@given(BITS, st.booleans())
def test_integers_are_the_numbers_of_the_bits(bits, signed):
    codes, n_bits = fh.pack(bits), bits.shape[1]
    expected = numbers_of(bits)
    if signed:
        expected = [x - 2**n_bits * (x >= 2 ** (n_bits - 1)) for x in expected]
    values = to_integers(codes, n_bits, signed=signed)
    assert values.tolist() == expected
    assert values.dtype == (object if n_bits > 64 else np.int64 if signed else np.uint64)
    for given_values in (expected, values):
        found = from_integers(given_values, n_bits, signed=signed)
        np.testing.assert_array_equal(found, codes)


@given(BITS, st.booleans())
def test_little_endian_integers_have_the_bytes_in_reverse(bits, signed):
    codes = fh.pack(bits)
    values = to_integers(codes, signed=signed, byteorder="little")
    assert values.tolist() == [
        int.from_bytes(c, "little", signed=signed) for c in map(bytes, codes)
    ]
    n_bits = 8 * codes.shape[1]
    found = from_integers(values, n_bits, signed=signed, byteorder="little")
    np.testing.assert_array_equal(found, codes)


def test_little_endian_integers_are_views_of_codes():
    codes = np.random.default_rng(0).integers(0, 256, (9, 8), np.uint8)
    np.testing.assert_array_equal(
        from_integers(codes.view("<u8")[:, 0], 64, byteorder="little"), codes
    )
    np.testing.assert_array_equal(from_integers(codes.view(">u8")[:, 0], 64), codes)
    np.testing.assert_array_equal(from_integers(codes.view(">i8")[:, 0], 64, signed=True), codes)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)))
def test_an_image_hash_and_its_text_are_the_same_code(bits):
    hashes = [ImageHash(one) for one in bits]
    n_bits = bits[0].size
    codes = from_image_hashes(hashes)
    np.testing.assert_array_equal(codes, fh.pack(bits.reshape(len(bits), -1)))
    np.testing.assert_array_equal(codes, from_hex([str(one) for one in hashes], n_bits))
    np.testing.assert_array_equal(codes, from_integers([int(str(x), 16) for x in hashes], n_bits))


@pytest.mark.parametrize("side", [3, 4, 8, 16])
def test_the_hashes_of_imagehash(side):
    imagehash = pytest.importorskip("imagehash", reason="the package imagehash is not installed")
    bits = np.random.default_rng(side).random((20, side, side)) < 0.5
    hashes = [imagehash.ImageHash(one) for one in bits]
    codes = from_image_hashes(hashes)
    np.testing.assert_array_equal(codes, from_hex(list(map(str, hashes)), side * side))
    assert fh.distances(codes[:1], codes[1:2])[0, 0] == hashes[0] - hashes[1]


def test_results_do_not_depend_on_the_blocks():
    codes = np.random.default_rng(0).integers(0, 256, (50, 9), np.uint8) & [255] * 8 + [0xE0]
    codes = codes.astype(np.uint8)
    everything = [
        to_hex(codes, 67),
        to_bit_strings(codes, 67),
        to_integers(codes, 67).tolist(),
        to_integers(codes[:, :8]).tolist(),
    ]
    with smaller_pieces(70):
        assert [
            to_hex(codes, 67),
            to_bit_strings(codes, 67),
            to_integers(codes, 67).tolist(),
            to_integers(codes[:, :8]).tolist(),
        ] == everything
        np.testing.assert_array_equal(from_hex(everything[0], 67), codes)
        np.testing.assert_array_equal(from_bit_strings(everything[1]), codes)
        np.testing.assert_array_equal(from_integers(everything[2], 67), codes)
        np.testing.assert_array_equal(from_integers(everything[3], 64), codes[:, :8])
        hashes = [ImageHash(one) for one in fh.unpack(codes, 67)]
        np.testing.assert_array_equal(from_image_hashes(hashes), codes)
        with pytest.raises(ValueError, match=r"hashes\[49\] is 'x'"):
            from_hex([*everything[0][:-1], "x"], 67)
        with pytest.raises(ValueError, match=r"texts\[49\] is 'x'"):
            from_bit_strings([*everything[1][:-1], "x"])
        with pytest.raises(ValueError, match=r"values\[49\] is -1"):
            from_integers([*everything[3][:-1], -1], 64)
        with pytest.raises(ValueError, match=r"hashes\[49\] is None"):
            from_image_hashes([*hashes[:-1], None])


# --- containers -----------------------------------------------------------------------------------

HASHES = ["007f00ff", "12345678", "deadBEEF"]
EXPECTED = [[0, 0x7F, 0, 0xFF], [0x12, 0x34, 0x56, 0x78], [0xDE, 0xAD, 0xBE, 0xEF]]


def containers():
    yield "tuple", tuple
    yield "str", np.array
    yield "bytes", lambda hashes: np.array(hashes, "S")
    yield "list of bytes", lambda hashes: [x.encode() for x in hashes]
    yield "object", lambda hashes: np.array(hashes, object)
    yield "numpy str", lambda hashes: [np.str_(x) for x in hashes]
    if hasattr(np.dtypes, "StringDType"):
        yield "StringDType", lambda hashes: np.array(hashes, np.dtypes.StringDType())
    yield "pandas", lambda hashes: pytest.importorskip("pandas").Series(hashes, index=[9, 8, 7])
    yield "polars", lambda hashes: pytest.importorskip("polars").Series(hashes)
    yield "pyarrow", lambda hashes: pytest.importorskip("pyarrow").array(hashes)
    yield (
        "chunks",
        lambda hashes: pytest.importorskip("pyarrow").chunked_array([hashes[:1], hashes[1:]]),
    )
    yield (
        "categories",
        lambda hashes: pytest.importorskip("pyarrow").array(hashes).dictionary_encode(),
    )


CONTAINERS = dict(containers())


@pytest.mark.parametrize("name", CONTAINERS)
def test_text_in_any_container(name):
    assert from_hex(CONTAINERS[name](HASHES)).tolist() == EXPECTED
    assert from_bit_strings(CONTAINERS[name](["10", "01", "11"])).tolist() == [[128], [64], [192]]


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_missing_text_of_a_column_is_named(name):
    column = CONTAINERS[name](["00ff", None, "ff00"])
    with pytest.raises(ValueError, match=r"^hashes\[1\] is (None|nan): every row must have a hash"):
        from_hex(column)


@pytest.mark.parametrize(
    "name", ["tuple", "str", "object", "pandas", "polars", "pyarrow", "chunks"]
)
def test_integers_in_any_container(name):
    assert from_integers(CONTAINERS[name]([1, 2, 256]), 16).tolist() == [[0, 1], [0, 2], [1, 0]]
    signed = from_integers(CONTAINERS[name]([-1, 2, -(2**63)]), 64, signed=True)
    assert signed.tolist() == [[255] * 8, [0] * 7 + [2], [128] + [0] * 7]


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64, ">u8"]
)
@pytest.mark.parametrize("n_bits", [5, 8, 33, 64, 65, 100])
def test_integers_of_any_dtype(dtype, n_bits):
    values = np.array([0, 7, 31], dtype)
    np.testing.assert_array_equal(to_integers(from_integers(values, n_bits), n_bits), values)
    assert from_integers(values, n_bits).tolist() == from_integers(values.tolist(), n_bits).tolist()


def test_without_rows_a_length_is_needed():
    assert from_hex([], 12).shape == from_bit_strings([], 12).shape == (0, 2)
    assert from_integers([], 12).shape == from_image_hashes([], 12).shape == (0, 2)
    assert from_hex(np.array([]), 12).shape == from_integers(np.array([]), 12).shape == (0, 2)
    empty = np.empty((0, 2), np.uint8)
    assert to_hex(empty) == to_bit_strings(empty) == to_integers(empty).tolist() == []
    for function in (from_hex, from_bit_strings, from_image_hashes):
        with pytest.raises(ValueError, match="is empty, so nothing says how long a code is"):
            function([])


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hashes", "n_bits", "message"),
    [
        (
            ["ff", "f", "f"],
            None,
            r"hashes\[1\] is 'f': it has 1 digits, and 2 are needed.*zfill\(2\)",
        ),
        (["7f", "00ff"], None, r"hashes\[1\] is '00ff': it has 4 .*zfill\(4\)"),
        (["ff", "fg"], None, r"hashes\[1\] is 'fg': 'g' is not a hexadecimal digit"),
        (["ff", "f "], None, r"hashes\[1\] is 'f ': ' ' is not a hexadecimal digit: remove spaces"),
        (["f f f"], None, r"hashes\[0\] is 'f f f': ' ' is not a hexadecimal digit"),
        (
            ["ff", "\u0661f"],
            None,
            "hashes\\[1\\] is '\u0661f': '\u0661' is not a hexadecimal digit",
        ),
        (["ff", "f\0"], None, r"hashes\[1\] is 'f\\x00': '\\x00' is not"),
        (
            ["0xff", "0x0f"],
            None,
            r"hashes\[0\] is '0xff': the prefix 0x is not accepted.*int\(x, 16\)",
        ),
        (["ff", "0X"], None, r"hashes\[1\] is '0X': 'X' is not a hexadecimal digit"),
        (["ff", ""], None, r"hashes\[1\] is '': it has no digits"),
        ([""], None, r"hashes\[0\] is '': it has no digits"),
        (
            ["fff"],
            None,
            r"hashes\[0\] is 'fff': it has 3 digits, and two .*pass n_bits \(up to 12\)",
        ),
        (["ff", None], None, r"hashes\[1\] is None: every row must have a hash: drop the rows"),
        ([None, "ff"], None, r"hashes\[0\] is None: every row"),
        (["ff", float("nan")], None, r"hashes\[1\] is nan: every row must have a hash"),
        (["ff", 12], None, r"hashes\[1\] is 12: it is an integer.*fasthash.codes.from_integers"),
        (["ff", b"ff"], None, r"hashes\[1\] is b'ff': some values are str and others bytes"),
        ([b"ff", "ff"], None, r"hashes\[1\] is 'ff': some values are str and others bytes"),
        ([b"ff", b"\xff0"], None, r"hashes\[1\] is b'\\xff0': 'ÿ' is not a hexadecimal digit"),
        (["ff", ["f", "f"]], None, r"hashes\[1\] is \['f', 'f'\]: it is of type list"),
        ([ImageHash(np.eye(2) > 0)], None, r"it is not text: pass such .*from_image_hashes"),
        (
            np.array([3, 4]),
            None,
            r"hashes must hold text, got dtype int64: pass them to .*integers",
        ),
        (np.array([["ff"]]), None, r"hashes must have one dimension, .* got shape \(1, 1\)"),
        ("ff00", None, r"hashes must have one dimension, .*for a single one pass \[hashes\]"),
        (None, None, "hashes is None"),
        (["ff"], 12, r"hashes\[0\] is 'ff': it has 2 digits, and 3 are needed"),
        (["01", "ff"], 7, r"hashes\[1\] is 'ff': the number does not fit in n_bits=7"),
        (["1ff", "200"], 9, r"hashes\[1\] is '200': the number does not fit in n_bits=9"),
        (["ff"], 0, "n_bits must be at least 1"),
        (["e" * 99 + "x"] * 2, None, r"hashes\[0\] is 'e{59}…: 'x' is not"),
    ],
)
def test_what_from_hex_refuses(hashes, n_bits, message):
    with pytest.raises(
        (TypeError, ValueError), match=f"^{message}" if message[0] != "i" else message
    ):
        from_hex(hashes, n_bits)


@pytest.mark.parametrize(
    ("texts", "n_bits", "message"),
    [
        (["01", "02"], None, r"texts\[1\] is '02': '2' is not 0 or 1"),
        (["01", "0/"], None, r"texts\[1\] is '0/': '/' is not 0 or 1"),
        (["01", "0é"], None, r"texts\[1\] is '0é': 'é' is not 0 or 1"),
        (["01", "011"], None, r"texts\[1\] is '011': it has 3 digits, and 2 are needed"),
        (["0b01"], None, r"texts\[0\] is '0b01': the prefix 0b is not accepted.*int\(x, 2\)"),
        (["01"], 3, r"texts\[0\] is '01': it has 2 digits, and 3 are needed"),
        (["01", None], None, r"texts\[1\] is None: every row"),
        (np.array([True]), None, r"texts must hold text, got dtype bool"),
    ],
)
def test_what_from_bit_strings_refuses(texts, n_bits, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        from_bit_strings(texts, n_bits)


@pytest.mark.parametrize(
    ("values", "n_bits", "options", "message"),
    [
        ([1, -1], 64, {}, r"values\[1\] is -1: a negative number.*pass signed=True"),
        (np.array([1, -1]), 64, {}, r"values\[1\] is -1: a negative number.*pass signed=True"),
        ([3, 256], 8, {}, r"values\[1\] is 256: it needs 9 bits, more than n_bits=8"),
        (np.array([3, 256], np.uint64), 8, {}, r"values\[1\] is 256: it needs 9 bits"),
        ([2**64], 64, {}, r"values\[0\] is 18446744073709551616: it needs 65 bits"),
        ([2**200], 128, {}, r"values\[0\] is 16069.*: it needs 201 bits, more than n_bits=128"),
        (
            [0, 2**63],
            64,
            {"signed": True},
            r"values\[1\] is 922.*: signed numbers of n_bits=64 end",
        ),
        (np.array([2**63], np.uint64), 64, {"signed": True}, r"values\[0\] is .*pass signed=False"),
        ([-129], 8, {"signed": True}, r"values\[0\] is -129: it needs 9 bits"),
        ([1, None], 8, {}, r"values\[1\] is None: every row must have a hash"),
        ([1, float("nan")], 8, {}, r"values\[1\] is nan: every row must have a hash"),
        (np.array([1, np.nan]), 8, {}, r"values\[1\] is nan: every row must have a hash"),
        ([1, 2.0], 8, {}, r"values\[1\] is 2.0: it is of type float.*53 bits"),
        (
            [1, decimal.Decimal(2)],
            8,
            {},
            r"values\[1\] is Decimal\('2'\): it is of type Decimal.*pass int\(x\) of each",
        ),
        (np.array([1.0]), 8, {}, r"values must be integers, got dtype float64: floats hold"),
        ([True], 8, {}, r"values\[0\] is True: it is of type bool, and an integer is needed"),
        (np.array([True]), 8, {}, r"values must be integers, got dtype bool: pass booleans"),
        (["ff"], 8, {}, r"values\[0\] is 'ff': it is of type str, .*fasthash.codes.from_hex"),
        (np.array(["ff"]), 8, {}, r"values must be integers, got dtype <U2: pass text to"),
        (np.array(["2020"], "M8[Y]"), 8, {}, r"values must be integers, got dtype datetime64"),
        ([[1]], 8, {}, r"values\[0\] is \[1\]: it is of type list"),
        (7, 8, {}, r"values must have one dimension, .*for a single one pass \[values\]"),
        ([1], 9, {"byteorder": "little"}, r'byteorder="little" needs codes of whole bytes'),
        ([1], 8, {"byteorder": "native"}, "byteorder must be one of 'big', 'little', got 'native'"),
        ([1], 8.0, {}, "n_bits must be an integer, got 8.0"),
    ],
)
def test_what_from_integers_refuses(values, n_bits, options, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        from_integers(values, n_bits, **options)


def test_missing_integers_of_a_column_are_named():
    pyarrow = pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=r"^values\[1\] is nan: every row must have a hash"):
        from_integers(pyarrow.array([1, None, 3]), 64)


@pytest.mark.parametrize(
    ("hashes", "message"),
    [
        ([ImageHash(np.eye(2) > 0), None], r"hashes\[1\] is None: every row must have a hash"),
        (
            [ImageHash(np.eye(8) > 0), ImageHash(np.eye(2) > 0)],
            r"hashes\[1\] is ImageHash\(9\): it has 4 bits, and 64 are needed",
        ),
        (
            [ImageHash(np.eye(2, dtype=int))],
            r"hashes\[0\] is .*: it has no attribute 'hash' that is an array of b",
        ),
        (["ff"], r"hashes\[0\] is 'ff': .*pass text to fasthash.codes.from_hex"),
        (ImageHash(np.eye(2) > 0), r"hashes must have one dimension, .*pass \[hashes\]"),
    ],
)
def test_what_from_image_hashes_refuses(hashes, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        from_image_hashes(hashes)


@pytest.mark.parametrize("function", [to_hex, to_bit_strings, to_integers])
def test_codes_are_checked(function):
    with pytest.raises(TypeError, match="codes must be packed codes of dtype uint8, got bool"):
        function(np.eye(3) > 0)
    with pytest.raises(ValueError, match=r"codes has padding bits set"):
        function(np.array([[255]], np.uint8), 7)
    signed = np.array([[-128, 127]], np.int8)
    assert to_hex(signed) == ["00ff"]
