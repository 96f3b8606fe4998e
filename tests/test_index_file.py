"""Index files: what is saved comes back, and what is damaged is refused in one sentence."""

import json
import os
import pathlib
import stat
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasthash as fh
from fasthash.index import _index_file as index_file
from fasthash.index._snapshot import Content
from strategies import random_codes


def changed_index(n_bits=70, n=300, multi_index="auto"):
    """An index with removed, replaced and recent codes."""
    index = fh.HammingIndex(n_bits, multi_index=multi_index)
    index.add(random_codes(n, n_bits), ids=np.arange(n) * 3)
    index.remove(np.arange(0, n, 7) * 3)
    index.add(random_codes(20, n_bits, 1), ids=np.arange(20) * 3 + 1)
    return index


def assert_same_index(a, b):
    assert type(a) is type(b) and a.n_bits == b.n_bits and len(a) == len(b)
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.codes, b.codes)
    queries = random_codes(3, a.n_bits, 9)
    for x, y in zip(a.search(queries, 7), b.search(queries, 7), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("mmap", [False, True])
@given(n_bits=st.sampled_from([1, 8, 63, 64, 70, 1000]), n=st.integers(0, 60))
@settings(max_examples=8)
def test_what_is_saved_comes_back(tmp_path_factory, mmap, n_bits, n):
    path = tmp_path_factory.mktemp("index") / "some.index"
    for index in (
        changed_index(n_bits, n, "never"),
        changed_index(n_bits, n, "always"),
        fh.MultiIndexHash(n_bits, n_tables=n_bits),
        fh.HammingIndex(n_bits),
    ):
        index.save(path)
        loaded = fh.load(path, mmap=mmap)
        assert_same_index(index, loaded)
        for name in type(index)._options:
            assert getattr(loaded, name) == getattr(index, name)
        loaded.verify()
        loaded.add(random_codes(2, n_bits))
        index.add(random_codes(2, n_bits))
        assert_same_index(index, loaded)


def test_ids_go_on_after_loading(tmp_path):
    index = fh.HammingIndex(16)
    index.add(random_codes(9, 16))
    index.remove([8])
    index.save(tmp_path / "x")
    for mmap in (False, True):
        loaded = fh.HammingIndex.load(tmp_path / "x", mmap=mmap)
        loaded.add(random_codes(1, 16))
        assert loaded.ids[-1] == 9


def test_sections_are_aligned_and_mapped(tmp_path):
    changed_index().save(tmp_path / "x")
    index = fh.HammingIndex.load(tmp_path / "x", mmap=True)
    before = (tmp_path / "x").read_bytes()
    state = index._storage.state
    for array in (state.base.codes, state.base.ids):
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable and not array.flags.owndata
    index.search(random_codes(1, 70), 3)
    index.remove(index.ids[:5])
    index.update(random_codes(5, 70), ids=index.ids[:5])
    index.add(random_codes(5, 70))
    assert index._storage.state.base is state.base, "a change copied the mapped codes"
    index.verify()
    index.compact()
    index.verify()
    assert (tmp_path / "x").read_bytes() == before, "a change went to the file"


def test_an_index_may_be_saved_over_the_file_it_is_mapped_from(tmp_path):
    index = changed_index()
    index.save(tmp_path / "x")
    mapped = fh.load(tmp_path / "x", mmap=True)
    mapped.remove(mapped.ids[:100])
    mapped.save(tmp_path / "x")
    again = fh.load(tmp_path / "x", mmap=True)
    assert_same_index(mapped, again)
    again.verify()
    assert len(again) == len(index) - 100


def test_another_process_maps_the_same_file(tmp_path):
    index = changed_index()
    index.save(tmp_path / "x")
    code = (
        "import sys, numpy as np, fasthash as fh\n"
        "index = fh.load(sys.argv[1], mmap=True)\n"
        "print(index.search(index.codes[:1], 1)[1][0, 0], len(index))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "x"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [str(index.ids[0]), str(len(index))], done.stderr


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_and_links_stay(tmp_path):
    index = changed_index()
    index.save(tmp_path / "x")
    os.chmod(tmp_path / "x", 0o640)
    (tmp_path / "link").symlink_to("x")
    index.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "x"]


def test_a_file_that_cannot_be_written_can_be_read(tmp_path):
    index = changed_index()
    folder = tmp_path / "media"
    folder.mkdir()
    index.save(folder / "x")
    os.chmod(folder / "x", 0o444)
    os.chmod(folder, 0o555)
    try:
        for mmap in (False, True):
            assert_same_index(fh.load(folder / "x", mmap=mmap), index)
        if os.name == "posix" and os.geteuid() != 0:
            with pytest.raises(PermissionError):
                index.save(folder / "x")
    finally:
        os.chmod(folder, 0o755)


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    index = changed_index()
    index.save(tmp_path / "x")
    before = (tmp_path / "x").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    for module, name in ((os, "fsync"), (os, "replace"), (index_file, "_write_blocks")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(OSError, match="No space left"):
                fh.HammingIndex(8).save(tmp_path / "x")
        assert os.listdir(tmp_path) == ["x"]
        assert (tmp_path / "x").read_bytes() == before
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        index.save(tmp_path / "no" / "x")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        index.save(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full to write to")
def test_a_full_disk_is_an_error():
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        index_file._write_blocks(file, [np.zeros((10, 8), np.uint8)])


def rewritten(data, change):
    """An index file with another description, and the right checksum and length for it."""
    n = struct.unpack_from("<I", data, 24)[0]
    description = json.loads(data[32 : 32 + n])
    description = change(description) or description
    return index_file._header(json.dumps(description).encode(), len(data), data[8]) + data[4096:]


def set_at(*path, value):
    def change(description):
        for key in path[:-1]:
            description = description[key]
        description[path[-1]] = value

    return change


WRONG_DESCRIPTIONS = {
    "n": set_at("n", value=10**18),
    "negative": set_at("n", value=-1),
    "float": set_at("n", value=1.5),
    "bool": set_at("n", value=True),
    "n_bits": set_at("parameters", "n_bits", value=2**40),
    "no n_bits": set_at("parameters", value={}),
    "list": set_at("parameters", value=[["n_bits", 8, 9]]),
    "option": set_at("parameters", "multi_index", value="sometimes"),
    "options": set_at("parameters", "further", value=1),
    "kind": set_at("index", value="CodeIndex"),
    "another kind": set_at("index", value="MultiIndexHash"),
    "number as kind": set_at("index", value=7),
    "offset": set_at("sections", "codes", "offset", value=4097),
    "size": set_at("sections", "ids", "bytes", value=2**62),
    "overlap": set_at("sections", "ids", "offset", value=4096),
    "no section": set_at("sections", value={}),
    "section": set_at("sections", "codes", value=[1]),
    "checksum": set_at("sections", "codes", "crc32", value=1),
    "no checksum": set_at("sections", "codes", "crc32", value=None),
    "next_id": set_at("next_id", value=5),
    "late next_id": set_at("next_id", value=2**64),
    "nothing": lambda description: [1],
    "nested": lambda description: [[[[[1]]]]],
}


@pytest.mark.parametrize("wrong", sorted(WRONG_DESCRIPTIONS))
def test_a_wrong_description_is_refused(tmp_path, wrong):
    changed_index().save(tmp_path / "x")
    data = rewritten((tmp_path / "x").read_bytes(), WRONG_DESCRIPTIONS[wrong])
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=r"is damaged|which this version does not know"):
        fh.load(tmp_path / "x")
    if wrong != "checksum":
        with pytest.raises(ValueError, match=r"is damaged|which this version does not know"):
            fh.load(tmp_path / "x", mmap=True)
    else:
        with pytest.raises(ValueError, match="checksum of its codes"):
            fh.load(tmp_path / "x", mmap=True).verify()


def test_deeply_nested_json_is_refused(tmp_path):
    changed_index().save(tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    for text in (b"[" * 4000, b'{"a":' * 800, b"1" * 4050, b"\xff\xfe", b""):
        header = index_file._header(text, len(data), index_file.VERSION)
        (tmp_path / "x").write_bytes(header + data[4096:])
        with pytest.raises(ValueError, match="is damaged"):
            fh.load(tmp_path / "x")


@pytest.mark.parametrize(
    ("n_bits", "ids", "codes", "message"),
    [
        (8, [3, 3], [[1], [2]], "do not ascend"),
        (8, [4, 3], [[1], [2]], "do not ascend"),
        (8, [-1, 3], [[1], [2]], "id -1"),
        (4, [1, 3], [[1], [2]], "padding bits"),
    ],
)
def test_codes_no_index_would_hold_are_refused(tmp_path, n_bits, ids, codes, message):
    index = fh.HammingIndex(n_bits)
    codes, ids = np.array(codes, np.uint8), np.array(ids, np.int64)
    index._storage.put(Content("", "", {}, 9, codes, ids, {}), is_mapped=False)
    with pytest.raises(ValueError, match="the index is damaged: .*" + message):
        index.verify()
    index.save(tmp_path / "x")
    with pytest.raises(ValueError, match=message):
        fh.load(tmp_path / "x")
    mapped = fh.load(tmp_path / "x", mmap=True)
    mapped.search(random_codes(2, n_bits), 5)
    with pytest.raises(ValueError, match=f"{tmp_path}.* is damaged: .*{message}"):
        mapped.verify()


def test_a_later_format_says_so(tmp_path):
    changed_index().save(tmp_path / "x")
    data = bytearray((tmp_path / "x").read_bytes())
    data[8:12] = struct.pack("<I", 4)
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match="of format 4, and this version of fasthash reads"):
        fh.load(tmp_path / "x")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        fh.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="is a folder: name a file in it"):
        fh.load(tmp_path)
    for content in (b"", b"\x89FASTHX\n", b"\x93NUMPY" + bytes(100), b"{}" * 50, bytes(5000)):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ValueError, match=r"holds neither an index nor a model|is damaged"):
            fh.load(tmp_path / "x")
        with pytest.raises(ValueError, match=r"is not an index file|is damaged"):
            fh.HammingIndex.load(tmp_path / "x")
    fh.MultiIndexHash(8).save(tmp_path / "x")
    with pytest.raises(ValueError, match="holds 'MultiIndexHash', not 'HammingIndex'"):
        fh.HammingIndex.load(tmp_path / "x")


def test_the_format_of_today_can_be_read_for_ever():
    """A file written by the first version of the format, byte for byte."""
    path = pathlib.Path(__file__).parent / "data" / "index_format_1.fasthash"
    index = fh.load(path)
    assert (index.n_bits, index.multi_index) == (12, "never")
    assert index.ids.tolist() == [3, 5, 2**62]
    assert fh.unpack(index.codes, 12).sum(axis=1).tolist() == [12, 0, 4]
    assert zlib.crc32(path.read_bytes()) == 0x974E5396
