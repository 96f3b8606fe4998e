"""Index files with lists: searches with a recall go on as before, and damage is found."""

import copy
import dataclasses
import json
import pathlib
import pickle
import struct

import numpy as np
import pytest
from test_index_file import rewritten, set_at
from test_recall import N_BITS, near_codes, recall_of
from test_weighted_recall import weights_near

import fasthash as fh
from fasthash.index import _index_file as index_file
from fasthash.index import _list_search
from fasthash.index._partitions import default_n_lists

pytestmark = pytest.mark.usefixtures("lists_answer")

DATA = pathlib.Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def index():
    index = fh.HammingIndex(N_BITS)
    index.add(near_codes(6000, 100, 0.12, 1), ids=np.arange(6000) * 3)
    index.partition(n_lists=150)
    return index


@pytest.fixture
def queries():
    return near_codes(500, 100, 0.12, 2)


@pytest.fixture
def path(index, tmp_path):
    index.calibrate(recall=0.9)
    index.calibrate(recall=0.9, weights=weights_near(500, 5))
    index.save(tmp_path / "x", partitions=True)
    return tmp_path / "x"


def as_before(index, queries, expected):
    for a, b in zip(index.search(queries, 10, recall=0.9), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("mmap", [False, True])
def test_lists_and_calibrations_are_read(index, queries, path, mmap):
    loaded = fh.load(path, mmap=mmap)
    assert loaded._storage.state.base.lists is None
    as_before(loaded, queries, index.search(queries, 10, recall=0.9))
    assert loaded.calibration_ == index.calibration_
    # The codes of a mapped file stay there.
    assert (loaded._storage.state.base.stored.layout.order is None) == mmap
    assert recall_of(loaded, queries, 5, recall=0.95) >= 0.94
    loaded.verify()


def test_calibrations_with_weights_are_read_without_the_weights(index, path):
    weights = weights_near(300, 6)
    found = index.search(weights=weights, k=10, recall=0.9)[1]
    exact = index.search(weights=weights, k=10)[1]
    assert (found != exact).any()
    loaded = fh.load(path)
    assert loaded.weighted_calibration_ == index.weighted_calibration_ != {}
    np.testing.assert_array_equal(loaded.search(weights=weights, k=10, recall=0.9)[1], found)
    # Another recall has not been calibrated, and there are no weights to do it with.
    np.testing.assert_array_equal(loaded.search(weights=weights, k=10, recall=0.8)[1], exact)
    # Nor are there if the rule is too old.
    loaded.remove(np.arange(0, 6000, 2) * 3)
    kept = loaded.search(weights=weights, k=10)[1]
    np.testing.assert_array_equal(loaded.search(weights=weights, k=10, recall=0.9)[1], kept)
    assert loaded.calibrate(recall=0.8, weights=weights_near(500, 5)).alone


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_does_not_depend_on_how_codes_are_stored(queries, path, tmp_path, mmap):
    loaded = fh.load(path, mmap=mmap)
    loaded.search(queries, 10, recall=0.9)
    loaded.save(tmp_path / "y", partitions=True)
    assert (tmp_path / "y").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("mmap", [False, True])
def test_changes_after_reading(queries, path, mmap):
    loaded = fh.load(path, mmap=mmap)
    loaded.remove(np.arange(0, 18000, 9))
    loaded.add(near_codes(500, 100, 0.12, 3), ids=np.arange(500) * 3 + 1)
    assert recall_of(loaded, queries, 10, recall=0.9) >= 0.89
    loaded.compact()
    assert recall_of(loaded, queries, 10, recall=0.9) >= 0.89
    loaded.save(path, partitions=True)
    again = fh.load(path, mmap=True)
    as_before(again, queries, loaded.search(queries, 10, recall=0.9))


def test_a_change_before_the_first_search_keeps_the_centres(index, queries, path):
    loaded = fh.load(path)
    loaded.remove([0, 3])
    loaded.compact()
    assert recall_of(loaded, queries, 10, recall=0.9) >= 0.89
    made, old = loaded._storage.state.base.lists.centres, index._storage.state.base.lists.centres
    assert np.isin(made.view("V16"), old.view("V16")).mean() > 0.9


def test_centres_are_learned_again_after_growth_over_several_files(tmp_path):
    """Each file grows the index by less than the factor of two after which it learns again."""
    index = fh.HammingIndex(N_BITS)
    index.add(near_codes(2000, 100, 0.12, 1))
    index.partition()
    for seed in (2, 3):
        index.save(tmp_path / "x", partitions=True)
        index = fh.load(tmp_path / "x")
        index.add(near_codes(len(index) // 2, 100, 0.12, seed))
        index.compact()
    index.search(index.codes[:20], 5, recall=0.9)
    assert len(index) == 4500
    assert len(index._storage.state.base.lists) > 1.2 * default_n_lists(2000)


@pytest.mark.parametrize("way", ["file", "file, searched", "copy", "pickle"])
@pytest.mark.parametrize("n_lists", [None, 30])
def test_the_number_of_lists_asked_for_is_kept(tmp_path, n_lists, way):
    index = fh.HammingIndex(N_BITS)
    index.add(near_codes(2000, 100, 0.12, 1))
    index.partition(n_lists=n_lists)
    if way.startswith("file"):
        index.save(tmp_path / "x", partitions=True)
        index = fh.load(tmp_path / "x")
        if way == "file, searched":
            index.search(index.codes[:20], 5, recall=0.9)
            index.save(tmp_path / "x", partitions=True)
            index = fh.load(tmp_path / "x", mmap=True)
    else:
        index = copy.copy(index) if way == "copy" else pickle.loads(pickle.dumps(index))
    index.add(near_codes(4000, 100, 0.12, 2))
    index.compact()
    index.search(index.codes[:20], 5, recall=0.9)
    made = len(index._storage.state.base.lists)
    assert made < 60 if n_lists else made > 0.8 * default_n_lists(6000)


@pytest.mark.parametrize("value", [0, 32768, 10**400, "2", 2.0, True])
def test_a_wrong_number_of_lists_asked_for_is_found(path, value):
    path.write_bytes(rewritten(path.read_bytes(), set_at("lists_asked_for", value=value)))
    with pytest.raises(ValueError, match="lists cannot have been asked for"):
        fh.load(path)


def test_lists_are_made_for_the_file(queries, tmp_path):
    index = fh.HammingIndex(N_BITS, multi_index="always")
    index.add(near_codes(3000, 50, 0.1, 1))
    index.save(tmp_path / "x", partitions=True, tables=True)
    loaded = fh.load(tmp_path / "x", mmap=True)
    assert loaded._has_tables
    as_before(loaded, queries, index.search(queries, 10, recall=0.9))
    loaded.verify()


def test_files_without_lists_are_as_before(index, tmp_path):
    index.save(tmp_path / "x")
    assert (tmp_path / "x").read_bytes()[8] == index_file.VERSION
    assert fh.load(tmp_path / "x").calibration_ == {}


def test_refusals(tmp_path):
    index = fh.MultiIndexHash(N_BITS)
    with pytest.raises(ValueError, match="a MultiIndexHash has no lists"):
        index.save(tmp_path / "x", partitions=True)
    with pytest.raises(ValueError, match="add codes"):
        fh.HammingIndex(N_BITS).save(tmp_path / "x", partitions=True)
    with pytest.raises(TypeError, match="partitions"):
        fh.HammingIndex(N_BITS).save(tmp_path / "x", partitions=1)
    assert not (tmp_path / "x").exists()


def damaged(path, section, content):
    """The file with another content of a section, and the right checksums for it."""
    data = path.read_bytes()
    n = struct.unpack_from("<I", data, 24)[0]
    place = index_file.json.loads(data[32 : 32 + n])["sections"][section]
    new = bytearray(data)
    new[place["offset"] : place["offset"] + len(content)] = content
    whole = bytes(new[place["offset"] : place["offset"] + place["bytes"]])
    checksum = index_file.zlib.crc32(whole)
    path.write_bytes(rewritten(bytes(new), set_at("sections", section, "crc32", value=checksum)))


@pytest.mark.parametrize(
    ("section", "content", "message"),
    [
        ("list_rows", struct.pack("<I", 6000), "a row that is not below 6000"),
        ("list_rows", struct.pack("<I", 2**32 - 1), "a row that is not below 6000"),
        ("list_starts", struct.pack("<q", 1), "do not start one after the other"),
        ("list_starts", struct.pack("<qq", 0, 2**40), "do not start one after the other"),
        ("calibrations", b"{", "damaged: its calibrations"),
    ],
)
@pytest.mark.parametrize("mmap", [False, True])
def test_damage_is_found_before_memory_is_read(queries, path, section, content, message, mmap):
    damaged(path, section, content)
    with pytest.raises(ValueError, match=message):
        fh.load(path, mmap=mmap).search(queries, 10, recall=0.9)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("rule", "least", 1.0),
        ("rule", "most", True),
        ("rule", "most", 151),
        ("rule", "bound", "9"),
        ("rule", "from_nearest", 1),
        ("rule", "slope", True),
        ("rule", "threshold", 1.5),
        ("rule", "threshold", 2**31),
        ("rule", "bound", 2**31),
        (None, "has_weights", 1),
        ("calibration", "alone", "no"),
        ("calibration", "lower", "high"),
        ("calibration", "achieved", float("inf")),
        ("calibration", "recall", 2),
        ("calibration", "k", 0),
        ("calibration", "queries", "some"),
        ("calibration", "other", 1),
        (None, "n_live", 10**400),
        (None, "n_live", 1.5),
    ],
)
def test_damaged_calibrations_are_found(path, part, key, value):
    """When the file is opened, and not by each search."""
    lists = fh.load(path)._partitioning._file.lists
    entries = json.loads(lists.calibrations)
    assert all(_list_search.read_calibrations("x", lists))
    (entries[0] if part is None else entries[0][part])[key] = value
    changed = dataclasses.replace(lists, calibrations=json.dumps(entries).encode())
    with pytest.raises(ValueError, match="x is damaged: its calibrations"):
        _list_search.read_calibrations("x", changed)


def test_calibrations_are_known_before_the_first_search(index, path):
    loaded = fh.load(path)
    assert loaded.calibration_ == index.calibration_ != {}
    loaded.add(near_codes(9, 100, 0.12, 4), ids=np.arange(9) * 3 + 1)
    loaded.compact()
    assert loaded.calibration_ == {}


def test_given_queries_replace_the_calibrations_of_a_file(path):
    loaded = fh.load(path)
    strange = near_codes(400, 100, 0.3, 5)
    assert loaded.calibrate(queries=strange, recall=0.9).queries == "given"
    assert list(loaded.calibration_) == [(10, 0.9)]


@pytest.mark.parametrize("mmap", [False, True])
def test_copies_of_an_index_that_was_just_read_have_its_lists(index, queries, path, mmap):
    expected = index.search(queries, 10, recall=0.9)
    loaded = fh.load(path, mmap=mmap)
    fork = copy.copy(loaded)
    assert fork.calibration_ == index.calibration_
    as_before(fork, queries, expected)
    as_before(loaded, queries, expected)
    again = pickle.loads(pickle.dumps(fh.load(path, mmap=mmap)))
    assert recall_of(again, queries, 10, recall=0.9) >= 0.89
    made, old = again._storage.state.base.lists.centres, index._storage.state.base.lists.centres
    assert np.isin(made.view("V16"), old.view("V16")).mean() > 0.9


def test_rows_that_are_in_two_lists_are_found(path):
    rows = fh.load(path)._partitioning._file.lists.rows
    damaged(path, "list_rows", rows[[1]].tobytes())
    with pytest.raises(ValueError, match="is in no list"):
        fh.load(path)
    with pytest.raises(ValueError, match="is in no list"):
        fh.load(path, mmap=True).verify()


@pytest.mark.parametrize("value", [0, 5999, 10**6, -1, "2", None])
def test_a_wrong_number_of_lists_is_found(path, value):
    path.write_bytes(rewritten(path.read_bytes(), set_at("n_lists", value=value)))
    with pytest.raises(ValueError, match="is damaged"):
        fh.load(path)


@pytest.mark.parametrize("value", [0, 2**32, 10**400, "2", None])
def test_a_wrong_number_of_learned_codes_is_found(path, value):
    path.write_bytes(rewritten(path.read_bytes(), set_at("lists_learned_from", value=value)))
    with pytest.raises(ValueError, match="its centres cannot have been learned"):
        fh.load(path)


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_with_rules_of_another_kind_is_calibrated_again(tmp_path, mmap):
    """Before searches with weights had rules, a rule was a table, and codes might lie twice."""
    path = DATA / "index_format_3.fasthash"
    index = fh.load(path, mmap=mmap)
    assert index.calibration_ == index.weighted_calibration_ == {}
    assert recall_of(index, index.codes[:300], 10, recall=0.9) >= 0.89
    assert len(index._storage.state.base.lists) == 20 and list(index.calibration_) == [(10, 0.9)]
    index.verify()
    index.save(tmp_path / "x", partitions=True)
    assert fh.load(tmp_path / "x").calibration_ == index.calibration_
