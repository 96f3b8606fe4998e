"""Tables of multi-index hashing in index files: used at once, checked, harmless where damaged."""

import os
import pathlib
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_index_file import assert_same_index, rewritten, set_at
from test_multi_index import UNLIMITED, assert_same, problems

import fasthash as fh
from fasthash._kernels.multi_index import Tables, table_bytes
from fasthash.index import _tables as tables_module
from fasthash.index._tables import CodeTables
from reference import hamming as reference
from strategies import random_codes

DATA = pathlib.Path(__file__).parent / "data"


def some_index(kind, n_bits=64, n=300, **options):
    """An index with removed, replaced and recent codes."""
    index = kind(n_bits, **options)
    index.add(random_codes(n, n_bits), ids=np.arange(n) * 3)
    index.remove(np.arange(0, n, 7) * 3)
    index.add(random_codes(20, n_bits, 1), ids=np.arange(20) * 3 + 1)
    return index


@pytest.fixture
def no_building(monkeypatch):
    """Make building of tables an error."""
    build = tables_module._Tables

    def read(codes, n_bits, n_tables, n_threads, memory=None, places=None):
        assert memory is not None, "tables were built"
        return build(codes, n_bits, n_tables, n_threads, memory, places)

    def forbid():
        monkeypatch.setattr(tables_module, "_Tables", read)

    return forbid


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("n_bits", [1, 8, 20, 64, 70, 300])
def test_stored_tables_answer_without_being_built(tmp_path, no_building, mmap, n_bits):
    queries = random_codes(3, n_bits, 9)
    indexes = [
        some_index(fh.MultiIndexHash, n_bits),
        some_index(fh.MultiIndexHash, n_bits, n_tables=min(n_bits, 70)),
        some_index(fh.HammingIndex, n_bits, multi_index="always"),
    ]
    for i, index in enumerate(indexes):
        index.save(tmp_path / str(i), tables=True)
    expected = [(index.search(queries, 7), index.within(queries, n_bits // 3)) for index in indexes]
    no_building()
    for i, (search, within) in enumerate(expected):
        loaded = fh.load(tmp_path / str(i), mmap=mmap)
        assert loaded._storage.state.base.searcher.tables.was_read
        assert_same(loaded.search(queries, 7), search)
        assert_same(loaded.within(queries, n_bits // 3), within)
        # Changes leave the tables where they are.
        loaded.remove(loaded.ids[:2])
        loaded.add(random_codes(2, n_bits))
        distances, rows = fh.topk(queries, loaded.codes, 7)
        assert_same(loaded.search(queries, 7), (distances, loaded.ids[rows]))


def test_a_hamming_index_of_many_codes_probes_first(tmp_path, monkeypatch):
    codes = np.repeat(random_codes(1_000, 64), 60, axis=0)
    codes[:, 0] ^= np.arange(len(codes), dtype=np.uint8) & 1
    index = fh.HammingIndex(64)
    index.add(codes)
    index.save(tmp_path / "x", tables=True)
    expected = index.search(codes[:1], 5), index.within(codes[:1], 2)
    loaded = fh.load(tmp_path / "x", mmap=True)

    def scan(*arguments):
        raise AssertionError("a scan")

    monkeypatch.setattr("fasthash.index._plan.scan_topk", scan)
    monkeypatch.setattr("fasthash.index._plan.scan_within", scan)
    # What follows depends on how fast either is here.
    for _ in range(2):
        assert_same(loaded.search(codes[:1], 5), expected[0])
        assert_same(loaded.within(codes[:1], 2), expected[1])


def test_the_same_codes_give_the_same_file(tmp_path):
    index = some_index(fh.MultiIndexHash)
    index.save(tmp_path / "a", tables=True)
    fh.load(tmp_path / "a", mmap=True).save(tmp_path / "b", tables=True)
    again = fh.MultiIndexHash(64)
    again.add(index.codes, ids=index.ids)
    again.add(random_codes(1, 64), ids=[10_000])
    again.remove([10_000])
    again.save(tmp_path / "c", tables=True)
    files = [(tmp_path / name).read_bytes() for name in "abc"]
    assert files[0] == files[1]
    # next_id differs.
    assert files[0][4096:] == files[2][4096:]


def test_a_file_has_tables_only_where_they_are_asked_for_and_of_use(tmp_path):
    for index, tables in (
        (some_index(fh.MultiIndexHash), False),
        (fh.MultiIndexHash(64), True),
        (some_index(fh.HammingIndex), True),
        (some_index(fh.HammingIndex, multi_index="never"), True),
    ):
        index.save(tmp_path / "x", tables=tables)
        data = (tmp_path / "x").read_bytes()
        assert data[8] == 1 and b'n_tables": 0' not in data[:4096]
        assert len(data) <= 4096 + 64 + 16 * len(index)
        assert_same_index(fh.load(tmp_path / "x"), index)
    with pytest.raises(TypeError, match="tables must be True or False, got 'auto'"):
        index.save(tmp_path / "x", tables="auto")


def test_processes_open_stored_tables(tmp_path):
    index = some_index(fh.MultiIndexHash)
    index.save(tmp_path / "x", tables=True)
    code = (
        "import sys, fasthash as fh\n"
        "index = fh.load(sys.argv[1], mmap=True)\n"
        "print(index.search(index.codes[:1], 1)[1][0, 0], len(index))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "x"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [str(index.ids[0]), str(len(index))], done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        set_at("n_tables", value=0),
        set_at("n_tables", value=2),
        set_at("n_tables", value=65),
        set_at("n_tables", value=2**62),
        set_at("n_tables", value=True),
        set_at("n", value=0),
        set_at("parameters", "n_bits", value=2**31 - 8),
        set_at("sections", "tables", "offset", value=64),
        set_at("sections", "tables", "bytes", value=0),
        lambda description: description.pop("n_tables") and None,
        lambda description: description["sections"].pop("tables") and None,
    ],
)
def test_wrong_tables_in_a_description_are_refused(tmp_path, wrong):
    some_index(fh.MultiIndexHash).save(tmp_path / "x", tables=True)
    (tmp_path / "x").write_bytes(rewritten((tmp_path / "x").read_bytes(), wrong))
    for mmap in (False, True):
        with pytest.raises(ValueError, match="is damaged"):
            fh.load(tmp_path / "x", mmap=mmap)


def test_a_file_that_says_it_has_no_tables_may_not_have_them(tmp_path):
    some_index(fh.MultiIndexHash).save(tmp_path / "x")
    data = rewritten((tmp_path / "x").read_bytes(), set_at("n_tables", value=4))
    (tmp_path / "x").write_bytes(data[:8] + b"\2" + data[9:])
    with pytest.raises(ValueError, match="is damaged"):
        fh.load(tmp_path / "x")


@pytest.mark.parametrize("n_bits", [64, 200])
@pytest.mark.parametrize("filling", ["ones", "zeros", "random", "turned"])
def test_damaged_tables_are_found_and_do_no_harm(tmp_path, n_bits, filling):
    index = some_index(fh.MultiIndexHash, n_bits)
    index.save(tmp_path / "x", tables=True)
    data = bytearray((tmp_path / "x").read_bytes())
    size = index._storage.state.base.searcher.tables.nbytes
    place = np.frombuffer(data, np.uint8)[-size:]
    rng = np.random.default_rng(0)
    if filling == "turned":
        at = rng.integers(0, size, 40)
        place[at] ^= rng.integers(1, 256, 40).astype(np.uint8)
    else:
        place[:] = {"ones": 255, "zeros": 0, "random": rng.integers(0, 256, size)}[filling]
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match="is damaged: the checksum of its tables is"):
        fh.load(tmp_path / "x")
    mapped = fh.load(tmp_path / "x", mmap=True)
    distances, ids = mapped.search(random_codes(4, n_bits, 5), 9)
    assert distances.min() >= 0 and np.isin(ids, index.ids).all()
    _, _, ids = mapped.within(random_codes(4, n_bits, 5), n_bits // 3)
    assert np.isin(ids, index.ids).all()
    with pytest.raises(ValueError, match="is damaged: the checksum of its tables is"):
        mapped.verify()


@pytest.mark.parametrize("mmap", [False, True])
def test_tables_of_other_codes_are_found_by_verify(tmp_path, mmap):
    index, other = (some_index(fh.MultiIndexHash) for _ in range(2))
    other.update(random_codes(len(other), 64, 77), ids=other.ids)
    index.save(tmp_path / "x", tables=True)
    other.save(tmp_path / "y", tables=True)
    data, wrong = (tmp_path / "x").read_bytes(), (tmp_path / "y").read_bytes()
    size = index._storage.state.base.searcher.tables.nbytes
    checksum = zlib.crc32(wrong[-size:])
    data = rewritten(
        data[:-size] + wrong[-size:], set_at("sections", "tables", "crc32", value=checksum)
    )
    (tmp_path / "x").write_bytes(data)
    loaded = fh.load(tmp_path / "x", mmap=mmap)
    with pytest.raises(ValueError, match="is damaged: its tables are not those of its codes"):
        loaded.verify()


@settings(deadline=None, max_examples=80)
@given(problem=problems(widths=(1, 8, 9, 40, 64, 65, 129)), data=st.data())
def test_any_bytes_as_tables_give_rows_that_exist(problem, data):
    queries, codes, n_bits = problem
    n_tables = data.draw(st.integers(-(-n_bits // 9), min(n_bits, 20)))
    n = len(codes)
    memory = Tables(codes, n_bits, n_tables, 1).memory.copy()
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    at = rng.integers(0, len(memory), data.draw(st.sampled_from([1, 20, len(memory)])))
    memory[at] = rng.integers(0, data.draw(st.sampled_from([2, 256])), len(at))
    memory.flags.writeable = False
    tables = CodeTables(codes, n_bits, n_tables, 1, memory)
    k, radius = data.draw(st.integers(1, 50)), data.draw(st.integers(0, n_bits))
    distances, rows = tables.topk(queries, k, UNLIMITED, 1)
    n_found = min(k, n)
    assert (rows[:, :n_found] >= 0).all() and (rows < n).all()
    assert (rows[:, n_found:] == -1).all() and (distances[:, n_found:] == -1).all()
    _, _, rows = tables.within(queries, radius, 1 << 20, 1)
    assert (rows >= 0).all() and (rows < n).all()


@settings(deadline=None, max_examples=40)
@given(problem=problems(), data=st.data())
def test_tables_over_given_memory_answer_as_built_ones(problem, data):
    queries, codes, n_bits = problem
    n_tables = data.draw(st.integers(-(-n_bits // 16), min(n_bits, 40)))
    memory = Tables(codes, n_bits, n_tables, 2).memory
    assert len(memory) == table_bytes(len(codes), n_bits, n_tables)
    np.testing.assert_array_equal(memory, Tables(codes, n_bits, n_tables, 1).memory)
    tables = CodeTables(codes, n_bits, n_tables, 1, memory.copy())
    assert tables.agree_with_codes(1)
    k = data.draw(st.integers(1, 30))
    assert_same(tables.topk(queries, k, UNLIMITED, 1), reference.topk(queries, codes, k))


def test_the_format_with_tables_can_be_read_for_ever():
    """A file written by the first version of format 2, byte for byte."""
    path = DATA / "index_format_2.fasthash"
    index = fh.load(path)
    assert (index.n_bits, index.n_tables) == (12, 3)
    assert index.ids.tolist() == [3, 5, 2**62]
    assert fh.unpack(index.codes, 12).sum(axis=1).tolist() == [12, 0, 4]
    index.verify()
    assert index._storage.state.base.searcher.tables.was_read
    assert zlib.crc32(path.read_bytes()) == 0x150FD95D
    assert os.path.getsize(path) == 4992
