"""Codes from and to other programs: faiss, Arrow and Parquet, .npy, embeddings with a sign."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasthash as fh
from fasthash.interchange import from_arrow, read_faiss, to_arrow, write_faiss
from strategies import random_codes


@pytest.mark.parametrize("ids", [None, [7, 5, 2**40]])
def test_files_written_here_are_read_here(tmp_path, ids):
    codes = random_codes(3, 24)
    write_faiss(tmp_path / "x", codes, ids=ids)
    found, found_ids = read_faiss(tmp_path / "x")
    np.testing.assert_array_equal(found, codes)
    assert (found_ids is None) if ids is None else found_ids.tolist() == ids
    write_faiss(tmp_path / "x", codes[:0], ids=None if ids is None else [])
    assert read_faiss(tmp_path / "x")[0].shape == (0, 3)


def test_faiss_reads_what_is_written_and_writes_what_is_read(tmp_path):
    faiss = pytest.importorskip("faiss", reason="compares with faiss-cpu, which is not installed")
    codes = random_codes(500, 64)
    index = fh.HammingIndex(64)
    index.add(codes, ids=np.arange(500) * 3)
    path = str(tmp_path / "x")
    write_faiss(path, index.codes, ids=index.ids)
    theirs = faiss.read_index_binary(path)
    for query in codes[:5, None]:
        distances, ids = theirs.search(query, 500)
        ours = index.search(query, 500)
        np.testing.assert_array_equal(distances, ours[0])
        assert set(zip(distances[0], ids[0], strict=True)) == set(
            zip(ours[0][0], ours[1][0], strict=True)
        )
    write_faiss(path, codes)
    assert faiss.read_index_binary(path).ntotal == 500
    flat = faiss.IndexBinaryFlat(64)
    flat.add(codes)
    faiss.write_index_binary(flat, path)
    found, ids = read_faiss(path)
    np.testing.assert_array_equal(found, codes)
    assert ids is None
    for kind in (faiss.IndexBinaryIDMap, faiss.IndexBinaryIDMap2):
        mapped = kind(faiss.IndexBinaryFlat(64))
        mapped.add_with_ids(codes, np.arange(500)[::-1].copy())
        faiss.write_index_binary(mapped, path)
        index = fh.HammingIndex(64)
        found, ids = read_faiss(path)
        index.add(found, ids=ids)
        np.testing.assert_array_equal(index.codes, codes[::-1])
    faiss.write_index_binary(faiss.index_binary_factory(64, "BIVF4"), path)
    with pytest.raises(ValueError, match="of the kind b'IBwF'"):
        read_faiss(path)


@given(data=st.data())
@settings(max_examples=200)
def test_a_damaged_faiss_file_is_refused_or_read(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.faiss"
    write_faiss(path, random_codes(3, 16), ids=data.draw(st.sampled_from([None, [4, 5, 6]])))
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        codes, ids = read_faiss(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert codes.ndim == 2 and (ids is None or len(ids) == len(codes))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "ends within its header"),
        (b"PK\3\4" + bytes(40), "not a binary index of faiss"),
        (struct.pack("<4siiq?iQ", b"IBxF", 16, 2, 2**61, 1, 1, 2**62), "ends before its"),
        (struct.pack("<4siiq?iQ", b"IBxF", 16, 2, -1, 1, 1, 0), "-1 codes"),
        (struct.pack("<4siiq?iQ", b"IBxF", 17, 2, 0, 1, 1, 0), "17 bits"),
        (struct.pack("<4siiq?iQ", b"IBxF", 16, 2, 1, 1, 1, 99), "not as long as"),
        (struct.pack("<4siiq?i", b"IBMp", 16, 2, 1, 1, 1) * 2, "of the kind b'IBMp'"),
    ],
)
def test_wrong_faiss_files_are_refused(tmp_path, header, message):
    (tmp_path / "x").write_bytes(header)
    with pytest.raises(ValueError, match=message):
        read_faiss(tmp_path / "x")


def test_arrow_and_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow, which is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="this pyarrow has no Parquet")
    codes = random_codes(50, 40)
    column = to_arrow(codes)
    assert column.type == pyarrow.binary(5) and column[3].as_py() == codes[3].tobytes()
    np.testing.assert_array_equal(from_arrow(column), codes)
    assert from_arrow(column).ctypes.data == codes.ctypes.data, "copied"
    np.testing.assert_array_equal(from_arrow(column[7:20]), codes[7:20])
    chunked = pyarrow.chunked_array([column[:3], column[3:3], column[5:]])
    np.testing.assert_array_equal(from_arrow(chunked), np.delete(codes, [3, 4], axis=0))
    assert from_arrow(pyarrow.chunked_array([], pyarrow.binary(5))).shape == (0, 5)
    assert len(to_arrow(codes[:0])) == 0
    for dtype in (np.uint8, np.int8):
        values = pyarrow.array(codes.view(dtype).reshape(-1))
        lists = pyarrow.FixedSizeListArray.from_arrays(values, 5)
        np.testing.assert_array_equal(from_arrow(lists[2:9]), codes.view(dtype)[2:9])
    parquet.write_table(pyarrow.table({"code": column}), tmp_path / "x.parquet", row_group_size=20)
    read = parquet.read_table(tmp_path / "x.parquet")["code"]
    np.testing.assert_array_equal(from_arrow(read), codes)
    with pytest.raises(ValueError, match="1 nulls"):
        from_arrow(pyarrow.array([b"ab", None], pyarrow.binary(2)))
    for wrong in (pyarrow.array([b"ab"]), pyarrow.array([[1]]), pyarrow.array([1])):
        with pytest.raises(TypeError, match="must be fixed_size_binary"):
            from_arrow(wrong)


def test_npy_files_are_taken_mapped(tmp_path):
    codes = random_codes(100, 64)
    np.save(tmp_path / "codes.npy", codes)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    index = fh.HammingIndex(64)
    index.add(mapped)
    for found in (index.search(mapped[:3], 5), fh.topk(mapped[:3], mapped, 5)):
        for a, b in zip(found, fh.topk(codes[:3], codes, 5), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n_bits", [64, 100])
def test_embeddings_with_a_sign_are_the_same_codes(n_bits):
    """As sentence_transformers.quantize_embeddings makes "binary" and "ubinary"."""
    embeddings = np.random.default_rng(0).standard_normal((200, n_bits)).astype(np.float32)
    unsigned = np.packbits(embeddings > 0).reshape(len(embeddings), -1) if n_bits == 64 else None
    if unsigned is None:
        unsigned = np.packbits(embeddings > 0, axis=1)
    signed = (unsigned.astype(np.int16) - 128).astype(np.int8)
    kept = signed.copy()
    np.testing.assert_array_equal(fh.pack(embeddings), unsigned)
    index = fh.HammingIndex(n_bits)
    index.add(signed[:100])
    index.add(unsigned[100:])
    np.testing.assert_array_equal(index.codes, unsigned)
    for a, b in zip(index.search(signed[:5], 7), index.search(unsigned[:5], 7), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        fh.distances(signed[:5], unsigned), fh.distances(unsigned[:5], unsigned)
    )
    np.testing.assert_array_equal(signed, kept)
