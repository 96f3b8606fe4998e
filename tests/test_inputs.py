"""How codes, signs and labels are read: the certain has its right value, the rest a sentence."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash._core.validation import check_count, check_pairs
from fasthash.cli import main
from fasthash.codes import pack_signs
from fasthash.datasets.readers import read_labels
from fasthash.embeddings import codes_of_signs
from fasthash.experiments import recall_of_codes
from strategies import random_codes

UNSIGNED = np.arange(240, dtype=np.uint8).reshape(60, 4)
SIGNED = (UNSIGNED.astype(int) - 128).astype(np.int8)


# --- codes --------------------------------------------------------------------


def every_function_over_codes(x):
    """What functions over codes give: queries x[:5], database x."""
    y = np.arange(len(x)) % 7
    index, tables = fh.HammingIndex(32), fh.MultiIndexHash(32)
    index.add(x)
    tables.add(x)
    labelled = (x[:5], x, y[:5], y)
    # Lists of integers could be latents there.
    codes = x if isinstance(x, np.ndarray) else np.array(x, np.uint8)
    scores = fh.retrieval_scores({"a": codes, "b": codes}, ranks=[1])["a", "b"]
    return {
        "distances": fh.distances(x[:5], x),
        "topk": fh.topk(x[:5], x, 3),
        "within": fh.within(x[:5], x, 9),
        "rank": fh.rank(x[:5], x),
        "unpack": fh.unpack(x, 32),
        "search": index.search(x[:5], 3),
        "index within": index.within(x[:5], 9),
        "tables": tables.search(x[:5], 3),
        "average precision": fh.average_precision(*labelled),
        "precision": fh.precision_at(*labelled, ranks=[3]),
        "recall": fh.recall_at(*labelled, ranks=[3]),
        "curve": fh.precision_recall_curve(*labelled, n_bits=32),
        "bit means": fh.metrics.bit_means(x, 32),
        "correlations": fh.metrics.bit_correlations(x, 32),
        "by relevance": fh.metrics.distances_by_relevance(*labelled, n_bits=32),
        "scores": (scores.recall[1], scores.median_rank),
        "arrow": np.array(fh.interchange.to_arrow(x).to_pylist()),
    }


def test_bytes_with_a_sign_and_lists_of_bytes_are_read_as_unsigned_bytes_by_every_function():
    pytest.importorskip("pyarrow")
    expected = every_function_over_codes(UNSIGNED)
    assert expected["scores"] == (1.0, 1.0)
    for given in (SIGNED, UNSIGNED.tolist()):
        for name, value in every_function_over_codes(given).items():
            for part, right in zip(value, expected[name], strict=True):
                np.testing.assert_array_equal(part, right, err_msg=name)


def test_integers_that_could_be_codes_or_latents_are_refused():
    for x in (UNSIGNED.tolist(), UNSIGNED.astype(np.int64), UNSIGNED > 7):
        with pytest.raises(
            TypeError, match=r"samples\['a'\] has dtype .*neither codes nor latents"
        ):
            fh.retrieval_scores({"a": x, "b": x})


def test_lists_of_bytes_have_the_distances_of_their_bits():
    assert fh.distances([[7, 200]], [[250, 3]]).tolist() == [[12]]


def test_faiss_files_and_the_command_line_read_bytes_with_a_sign(tmp_path):
    fh.interchange.write_faiss(tmp_path / "x.faiss", SIGNED)
    np.testing.assert_array_equal(fh.interchange.read_faiss(tmp_path / "x.faiss")[0], UNSIGNED)
    np.save(tmp_path / "x.npy", SIGNED)
    index = str(tmp_path / "x.index")
    assert main(["index", "build", index, "--codes", str(tmp_path / "x.npy")]) == 0
    np.testing.assert_array_equal(fh.load(index).codes, UNSIGNED)


@pytest.mark.parametrize("values", [[[1, -1, 1]], [[1, 1, 1]], [[0, 1, 1]], [[0, 0]], [[-1, -1]]])
def test_one_value_per_bit_in_int8_is_no_packed_code(values):
    x = np.array(values, np.int8)
    with pytest.raises(ValueError, match=r"a has dtype int8 and holds only .*pass pack\(a\)"):
        fh.distances(x, x)
    # What the sentence says of codes that are packed all the same.
    codes = x.view(np.uint8) ^ 128
    assert fh.distances(codes, codes).tolist() == [[0]]


def test_a_length_that_fits_says_that_codes_are_packed():
    x = np.array([[1, -1], [0, 1]], np.int8)
    assert fh.unpack(x, 16).sum(axis=1).tolist() == [9, 3]
    index = fh.HammingIndex(16)
    index.add([[0, 1], [1, 1]])
    assert index.codes.tolist() == [[0, 1], [1, 1]]


def test_one_value_per_bit_is_refused_by_an_index_with_the_remedy():
    bits = np.random.default_rng(0).integers(0, 2, (5, 64), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"64 bytes, but n_bits=64 needs 8: .*pass pack\(codes\)"):
        fh.HammingIndex(64).add(bits)


def test_the_command_line_builds_no_index_of_unpacked_bits_unless_told_so(tmp_path, capsys):
    np.save(tmp_path / "bits.npy", np.eye(3, 64, dtype=np.uint8))
    build = ["index", "build", str(tmp_path / "x.index"), "--codes", str(tmp_path / "bits.npy")]
    assert main(build) == 1
    assert "holds only 0 and 1, 64 in a row" in capsys.readouterr().err
    assert main([*build, "--bits", "512"]) == 0
    assert fh.load(tmp_path / "x.index").n_bits == 512


def test_unsigned_bytes_of_0_and_1_have_the_same_distances_either_way():
    """So nothing needs to be refused where no length is derived from the width."""
    bits = np.random.default_rng(0).integers(0, 2, (9, 24), dtype=np.uint8)
    np.testing.assert_array_equal(fh.distances(bits, bits), fh.distances(*[fh.pack(bits)] * 2))


class ImageHash:
    """As of the package imagehash: booleans in an attribute, and a length."""

    def __init__(self, bits):
        self.hash = bits

    def __len__(self):
        return self.hash.size


WORDS = np.array([2**63 + 5, 7], np.uint64)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (WORDS, "fasthash.codes.from_integers(a, 64)"),
        (WORDS[:, None], "a.astype('>u8').view(np.uint8).reshape(len(a), -1)"),
        (np.array([-(2**63), 5]), "fasthash.codes.from_integers(a, 64, signed=True)"),
        (["ff00", "01ff"], "fasthash.codes.from_hex(a)"),
        (["01100", "11111"], "fasthash.codes.from_bit_strings(a)"),
        (np.array(["ff00"], object), "fasthash.codes.from_hex(a)"),
        ([b"\xff\0", b"\1\xff"], 'np.frombuffer(b"".join(a), np.uint8)'),
        ("ff00", "fasthash.codes.from_hex([a])"),
        (b"\xff\0", "np.frombuffer(a, np.uint8).reshape(1, -1)"),
        ([ImageHash(np.eye(2) > 0)], "fasthash.codes.from_image_hashes(a)"),
        (ImageHash(np.eye(2) > 0), "fasthash.codes.from_image_hashes([a])"),
        (np.array([[7, 200]]), "np.asarray(a, np.uint8)"),
        (np.array([[0, 1]]), "pack(np.asarray(a, bool))"),
        (np.array([[True, False]]), "pack(a)"),
        (np.array([[-0.5, 1.0]]), "pack(a)"),
        ([[-3, 5]], "np.asarray(a, np.int8)"),
        ([[0, 1]], "pack(np.array(a, bool))"),
    ],
)
def test_the_remedy_that_an_error_names_is_the_end_of_the_way(given, remedy):
    with pytest.raises((TypeError, ValueError)) as caught:
        fh.distances(given, given)
    assert remedy in str(caught.value)
    if ".reshape(len(a)" in str(caught.value) and ".reshape" not in remedy:
        remedy += ".reshape(len(a), -1)"
    remedied = eval(remedy, {"np": np, "a": given, "pack": fh.pack, "fasthash": fh})
    assert remedied.dtype in (np.uint8, np.int8) and remedied.ndim == 2
    fh.topk(remedied, remedied, 1)


def test_whole_hashes_become_bytes_whose_distances_are_those_of_the_numbers():
    with pytest.raises(ValueError, match=r"use them as values\.astype") as caught:
        fh.pack(WORDS[:, None])
    remedy = str(caught.value).partition("use them as ")[2]
    codes = eval(remedy, {"np": np, "values": WORDS})
    assert fh.distances(codes, codes)[0, 1] == (int(WORDS[0]) ^ int(WORDS[1])).bit_count()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "is None: pass an array"),
        ([[1, 2], [3]], "is ragged: its rows differ in length"),
        (np.array([[None, 1]]), "holds Python objects of type NoneType, int: pass"),
        (np.int8(3), "must have two dimensions"),
        (3, "must have two dimensions"),
        ({"a": 1}, "must be an array, got dict"),
        ((i for i in range(3)), "must be an array, got generator"),
        (np.ma.array([[1, 2]], mask=[[0, 1]]), "has masked values"),
        (sparse.csr_array(np.eye(2)), "is sparse: pass .*toarray"),
        (np.array([["2020"]], "M8[Y]"), "must be booleans, floats or integers, got dtype date"),
    ],
)
def test_what_is_no_array_is_refused_by_name_everywhere(given, message):
    for name, function in (
        ("queries", lambda: fh.topk(given, UNSIGNED, 1)),
        ("values", lambda: fh.pack(given)),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{name} {message}"):
            function()


def test_features_may_be_tensors():
    torch = pytest.importorskip("torch")
    from fasthash._core.validation import check_rows

    x = np.array([[0.5, -1.0], [2.0, 3.0]])
    for tensor in (torch.tensor(x, requires_grad=True), torch.tensor(x, dtype=torch.bfloat16)):
        np.testing.assert_array_equal(check_rows(tensor, "x").read(slice(0, 2)), x)
        np.testing.assert_array_equal(codes_of_signs(tensor), [[128], [192]])
    with pytest.raises(TypeError, match=r"x is a sparse tensor: pass x.to_dense\(\)"):
        check_rows(torch.tensor(x).to_sparse(), "x")


# --- signs --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.0, 1, 0, 1]], r"holds only 0 and 1.*np.asarray\(values, bool\)"),
        ([[0.0, 3, 0, 1]], r"nothing below 0.*values > 0.*values.mean\(axis=0\)"),
        (np.full((8, 8), 0.2), "nothing below 0"),
        ([[7, 200], [250, 3]], r"nothing below 0.*np.asarray\(values, np.uint8\)"),
        (np.array([[7, 200]], np.int16), "nothing below 0"),
        (np.zeros((1, 3)), "holds only 0 and 1"),
    ],
)
def test_values_whose_sign_says_nothing_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        fh.pack(values)


def test_values_whose_sign_says_something_are_packed():
    assert fh.pack([[0.2, 3.0]]).tolist() == [[192]]
    assert fh.pack(np.ones((9, 64))).tolist() == [[255] * 8] * 9
    assert fh.pack(np.ones((9, 3), np.int8)).tolist() == [[224]] * 9
    assert fh.pack(np.zeros((0, 3))).shape == (0, 1)
    relu = np.maximum(np.random.default_rng(0).standard_normal((9, 64)), 0)
    assert fh.distances(fh.pack(relu > 0), fh.pack(relu > 0)).max() > 0
    # Of models that know what they project.
    assert pack_signs(np.full((8, 8), 0.2)).tolist() == [[255]] * 8


def test_a_negative_value_in_the_last_block_is_seen():
    x = np.full((50, 8), 0.5)
    x[-1, -1] = -1
    with smaller_pieces(64):
        codes = fh.pack(x)
    assert codes[-2:].tolist() == [[255], [254]]


def test_embeddings_without_a_sign_are_refused_wherever_signs_are_taken(tmp_path, capsys):
    relu = np.maximum(np.random.default_rng(0).standard_normal((120, 16)), 0)
    with pytest.raises(ValueError, match="x has dtype float64 and holds nothing below 0"):
        codes_of_signs(relu)
    with pytest.raises(ValueError, match="vectors has dtype float64 and holds nothing below 0"):
        recall_of_codes(relu, relu[:3], methods=["sign"], n_bits=[16])
    # ITQ centres what it is given.
    assert recall_of_codes(relu, relu[:3], methods=["itq"], n_bits=[16], k=1)[0].value == 1
    np.save(tmp_path / "x.npy", relu)
    source = str(tmp_path / "x.npy")
    encode = ["encode", "--method", "sign", "--features", source]
    assert main([*encode, "--output", str(tmp_path / "codes.npy")]) == 1
    assert main(["recall", "--features", source, "--bits", "16", "-k", "1"]) == 1
    assert capsys.readouterr().err.count("holds nothing below 0") == 2


def test_features_of_one_sign_are_named():
    x = np.random.default_rng(0).standard_normal((100, 9))
    x[:, 4] -= 9
    x[:, 7] += 9
    with pytest.warns(UserWarning, match=r"2 of 9 features .* of the 100 rows \(4, 7\)"):
        codes_of_signs(x)
    codes_of_signs(x[:99])
    codes_of_signs(x - x.mean(axis=0))


# --- labels -------------------------------------------------------------------

CODES = np.array([[0], [1], [255], [254]], np.uint8)
CLASSES = np.array([0, 0, 0, 1])
SCORE = 0.7083333333333333


def of_labels(queries, database):
    return fh.mean_average_precision(CODES[[0, 2]], CODES, queries, database, ties="database")


@pytest.mark.parametrize(
    "kind",
    [
        lambda y: y,
        lambda y: y.tolist(),
        lambda y: y[:, None],
        lambda y: y[:, None].tolist(),
        lambda y: y.astype(float),
        lambda y: y[:, None].astype(np.float32),
        lambda y: y.astype(bool),
        lambda y: y.astype(np.uint64),
        lambda y: y.astype(object),
        lambda y: y.astype(str),
        lambda y: y.astype(str).astype(object)[:, None],
        lambda y: y.astype("S1"),
        lambda y: np.eye(2)[y],
        lambda y: np.eye(2, dtype=bool)[y],
        lambda y: np.eye(2, dtype=int)[y].astype(object),
        lambda y: sparse.csr_array(np.eye(2)[y]),
        lambda y: sparse.coo_matrix(np.eye(2)[y]),
    ],
)
def test_every_kind_of_labels_gives_one_score(kind):
    assert of_labels(kind(np.array([0, 1])), kind(CLASSES)) == pytest.approx(SCORE)


def test_labels_of_data_frames_and_tensors():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    torch = pytest.importorskip("torch")
    names = np.array(["ant", "bee"])
    for kind in (
        lambda y: pandas.Series(names[y]),
        lambda y: pandas.Series(names[y]).astype("category"),
        lambda y: pandas.Categorical(names[y]),
        lambda y: pandas.Series(y).astype("Int64"),
        lambda y: pandas.DataFrame({"y": y}),
        lambda y: pandas.DataFrame(np.eye(2, dtype=int)[y]),
        lambda y: polars.Series(names[y]),
        lambda y: polars.Series(names[y]).cast(polars.Categorical),
        lambda y: torch.tensor(y),
    ):
        assert of_labels(kind(np.array([0, 1])), kind(CLASSES)) == pytest.approx(SCORE)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0], [0, 1], [1], [0]], "is ragged.*MultiLabelBinarizer"),
        (np.array([[0], [0, 1], [1], [0], 0], object)[:4], "holds lists.*MultiLabelBinarizer"),
        (np.array([["a", "b"]] * 4), "has 2 columns of dtype <U1.*in one column.*MultiLabel"),
        (["a", "b", 1, "a"], "values of type int, str: pass all names or all numbers"),
        (["a", None, "b", "a"], "holds the missing value None"),
        (np.array(["a", np.nan, "b", "a"], object), "holds the missing value nan"),
        ([0.0, np.nan, 1.0, 0.0], "class number nan"),
        ([0.0, 0.5, 1.0, 0.0], "class number 0.5"),
        ([0, -1, 0, 1], "class number -1"),
        (np.array([0, 2**63, 0, 1], np.uint64), "class number 9223372036854775808"),
        (np.array([[True], [False], [True], [True]]), r"one column of booleans.*\[:, 0\].*csr"),
        (np.zeros((4, 1, 1)), "one or two dimensions"),
        (np.array(["2020"] * 4, "M8[Y]"), r"dtype datetime64\[Y\].*astype\(str\)"),
        (None, "is None"),
    ],
)
def test_labels_without_a_certain_meaning_are_refused(labels, message):
    with pytest.raises((TypeError, ValueError), match=f"database_labels.*{message}"):
        fh.mean_average_precision(CODES[:1], CODES, [0], labels)


def test_columns_hold_0_and_1():
    with pytest.raises(ValueError, match="database_labels holds the value 2: labels must be 0"):
        of_labels([[0, 1], [1, 0]], [[0, 1], [2, 0], [0, 1], [0, 1]])


def test_a_column_of_classes_means_the_same_in_a_file(tmp_path):
    for name, y in (("y", CLASSES[:, None]), ("f", CLASSES[:, None].astype(float))):
        np.save(tmp_path / f"{name}.npy", y)
        read = read_labels(tmp_path / f"{name}.npy")
        assert of_labels(read[[0, 3]], read) == pytest.approx(SCORE)
    np.save(tmp_path / "b.npy", CLASSES[:, None] > 0)
    with pytest.raises(ValueError, match="one column of booleans"):
        of_labels([0, 1], read_labels(tmp_path / "b.npy"))


# --- relevance ----------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [1, 2, 63, 64, 65, 128, 129, 1000])
@pytest.mark.parametrize("ties", ["database", "expected"])
def test_any_number_of_classes_means_one_rule(n_classes, ties):
    rng = np.random.default_rng(n_classes)
    queries, codes = random_codes(140, 9, seed=1), random_codes(300, 9)
    y_query, y = rng.integers(0, n_classes, 140), rng.integers(0, n_classes, 300)
    ours = fh.average_precision(queries, codes, y_query, y, ties=ties, n_threads=2)
    for i in range(0, 140, 13):
        # Classes 0 and 1 alone: what the query has, and what it has not.
        alone = fh.average_precision(queries[[i]], codes, [1], y == y_query[i], ties=ties)
        np.testing.assert_array_equal(ours[[i]], alone)


def test_sets_of_labels_beyond_one_word():
    """Two hundred queries with different sets, some empty, some of all labels."""
    rng = np.random.default_rng(0)
    queries, codes = random_codes(200, 12, seed=1), random_codes(150, 12)
    labels = rng.random((350, 300)) < 0.01
    labels[:3], labels[3], labels[4] = False, True, labels[5]
    ours = fh.average_precision(queries, codes, labels[:200], labels[200:])
    for i in range(200):
        relevant = labels[200:] @ labels[i]
        alone = fh.average_precision(queries[[i]], codes, [1], relevant.astype(int))
        np.testing.assert_array_equal(ours[[i]], alone)


@pytest.mark.parametrize("as_columns", [False, True])
def test_memory_of_relevance_does_not_grow_with_classes_times_items(as_columns):
    """A class per item, 200,000 of them: a bit per class and item would be 5 GB."""
    n = 200_000
    codes, y = random_codes(n, 16), np.arange(n)
    database = sparse.csr_array((np.ones(n), y, np.arange(n + 1)), (n, n)) if as_columns else y
    queries = database[-100:]
    tracemalloc.start()
    score = fh.mean_average_precision(codes[-100:], codes, queries, database, n_threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < score < 1
    assert peak < 32 << 20


# --- counts -------------------------------------------------------------------


def test_counts_are_integers_of_any_type_and_size():
    x = random_codes(200, 1016)
    for three in (3, np.int8(3), np.uint64(3)):
        assert fh.topk(x, x, three)[0].shape == (200, 3)
        assert len(fh.within(x, x, three)[0]) == 201
    assert fh.within(x[:2], x, 2**70)[0].tolist() == [0, 200, 400]
    # numpy's small integers overflow: 127 + 1 is -128.
    bits = x[:, :16]
    bits[:, -1] &= 0xFE
    y = np.arange(200) % 3
    relevant, other = fh.metrics.distances_by_relevance(bits, bits, y, y, n_bits=np.int8(127))
    assert len(relevant) == 128 and relevant.sum() + other.sum() == 200**2
    assert len(fh.precision_recall_curve(bits, bits, y, y, n_bits=np.int8(127))[2]) == 128
    assert fh.metrics.bit_means(bits, np.int8(127)).shape == (127,)
    assert fh.unpack(bits, np.int8(127)).shape == (200, 127)


@pytest.mark.parametrize(
    ("value", "message"),
    [(2**70, "at most"), (3.0, "integer"), (True, "integer"), (-1, "at least"), ("3", "integer")],
)
def test_counts_that_are_none_are_refused_by_name(value, message):
    x = random_codes(5, 16)
    for name, function in (
        ("k", lambda: fh.topk(x, x, value)),
        ("k", lambda: fh.HammingIndex(16).search(x, value)),
        ("n_bits", lambda: fh.HammingIndex(value)),
        ("n_bits", lambda: fh.unpack(x, value)),
        ("n_bits", lambda: codes_of_signs([[1.0, -1.0]], n_bits=value)),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{name} must be .*{message}"):
            function()


def test_bounds_belong_to_what_is_allowed():
    assert check_count(2**31 - 1, "k") == 2**31 - 1 and check_count(1, "k") == 1
    for wrong in (0, 2**31):
        with pytest.raises(ValueError, match="k must be at"):
            check_count(wrong, "k")
    pairs = [[0, 0], [3, 4]]
    np.testing.assert_array_equal(check_pairs(pairs, {"a": 4, "b": 5}), pairs)
    for wrong in ([[0, 0], [4, 4]], [[0, 0], [3, 5]], [[0, 0], [3, -1]]):
        with pytest.raises(ValueError, match="row numbers go from 0 to"):
            check_pairs(wrong, {"a": 4, "b": 5})
