"""The table for other packages: real outside extensions, built against the installed fasthash.

They are built in a folder of their own, from what docs/calling-from-c.md prints and from
`c_interface/consumer.pyx`, and run in processes of their own.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

import fasthash as fh
from reference import hamming as reference
from strategies import random_codes, search_problems, simd

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "calling-from-c.md"

BUILD = """
import fasthash
from Cython.Build import cythonize
from setuptools import Extension, setup

extension = Extension("{name}", ["{name}.{suffix}"], include_dirs={include})
setup(name="{name}", ext_modules=cythonize([extension], language_level=3))
"""

needs_tools = pytest.mark.skipif(
    importlib.util.find_spec("Cython") is None or importlib.util.find_spec("setuptools") is None,
    reason="needs Cython and setuptools, which build the extensions",
)
needs_compiler = pytest.mark.skipif(
    sys.platform != "win32"
    and shutil.which(os.environ.get("CC", sysconfig.get_config_var("CC") or "cc").split()[0])
    is None,
    reason="no C compiler",
)
pytestmark = [needs_tools, needs_compiler]


def run_python(folder, *arguments):
    """Run Python in the folder, with the fasthash of this process.

    Cython looks for ``fasthash/c_api.pxd`` along the path and does not see editable installations.
    """
    path = os.pathsep.join([str(folder), str(Path(fh.__file__).parents[1])])
    # The tests wait longer for an optimizing compiler than for the extensions.
    environment = {"CFLAGS": "-O0", **os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )


def build(folder):
    done = run_python(folder, "setup.py", "build_ext", "--inplace")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def consumer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("consumer")
    shutil.copy(HERE / "c_interface" / "consumer.pyx", folder)
    include = "[fasthash.get_include()]"
    text = BUILD.format(name="consumer", suffix="pyx", include=include)
    (folder / "setup.py").write_text(text)
    build(folder)
    path = next(path for path in folder.iterdir() if path.suffix in (".so", ".pyd"))
    spec = importlib.util.spec_from_file_location("consumer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_page_prints_builds_and_runs(page, tmp_path):
    blocks = re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL)
    assert [language for language, _ in blocks] == [*["c"] * 3, "cython", "python", "python"]
    names = ["nearest_c.c", "records.c", "indexed.c", "nearest_cython.pyx", "setup.py", "use.py"]
    for name, (_, text) in zip(names, blocks, strict=True):
        assert f"`{name}`" in page or name == "use.py"
        (tmp_path / name).write_text(text)
    build(tmp_path)
    done = run_python(tmp_path, "use.py")
    assert done.returncode == 0, done.stderr


def test_the_page_lists_every_error(page, consumer):
    header = (Path(fh.get_include()) / "fasthash.h").read_text()
    errors = re.findall(r"(FASTHASH_ERROR_\w+) = (\d+)", header)
    assert len(errors) == 14
    assert re.findall(r"\| `(FASTHASH_ERROR_\w+)` \| (\d+) \|", page) == errors
    sentences = {consumer.message(int(number)) for _, number in errors}
    assert len(sentences) == len(errors)
    assert consumer.message(0) == "no error"
    assert consumer.message(-1) == consumer.message(99) not in sentences


def test_it_is_the_version_and_level_in_use(consumer):
    assert consumer.version() == consumer.TABLE_VERSION == 4
    for level in fh.simd_levels():
        with simd(level):
            assert consumer.simd_level() == level


def test_an_older_package_is_refused(tmp_path):
    include = tmp_path / "newer"
    include.mkdir()
    header = (Path(fh.get_include()) / "fasthash.h").read_text()
    newer = header.replace("FASTHASH_TABLE_VERSION 4\n", "FASTHASH_TABLE_VERSION 5\n")
    assert newer != header
    (include / "fasthash.h").write_text(newer)
    (tmp_path / "late.c").write_text(
        '#include <Python.h>\n#include "fasthash.h"\n'
        "static struct PyModuleDef module = "
        '{PyModuleDef_HEAD_INIT, "late", NULL, -1, NULL, NULL, NULL, NULL, NULL};\n'
        "PyMODINIT_FUNC PyInit_late(void)\n"
        "{ return fasthash_import() ? PyModule_Create(&module) : NULL; }\n"
    )
    (tmp_path / "setup.py").write_text(
        BUILD.format(name="late", suffix="c", include=repr([str(include)]))
    )
    build(tmp_path)
    done = run_python(tmp_path, "-c", "import late")
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == (
        "ImportError: this extension was built against version 5 of fasthash's C interface, the "
        "installed fasthash has version 4: upgrade fasthash-retrieval"
    )


def test_an_extension_built_against_version_1_runs(page, tmp_path):
    """With the header of that time."""
    source = re.findall(r"```c\n(.*?)```", page, re.DOTALL)[0]
    (tmp_path / "nearest_c.c").write_text(source)
    shutil.copy(HERE / "c_interface" / "fasthash_1.h", tmp_path / "fasthash.h")
    (tmp_path / "setup.py").write_text(BUILD.format(name="nearest_c", suffix="c", include=["."]))
    build(tmp_path)
    program = "import nearest_c; print(nearest_c.nearest(b'ab', b'zzacaa'))"
    done = run_python(tmp_path, "-c", program)
    assert done.stdout == "(1, 1)\n", done.stderr


@pytest.mark.parametrize(
    ("suffix", "standard", "compiler"), [("c", "-std=c99", "cc"), ("cpp", "-std=c++11", "c++")]
)
def test_the_header_needs_no_python_and_gives_no_warning(suffix, standard, compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"no compiler called {compiler}")
    source = tmp_path / f"alone.{suffix}"
    source.write_text('#include "fasthash.h"\nint version(const fasthash_table *t);\n'
                      "int version(const fasthash_table *t) { return t->version; }\n")  # fmt: skip
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I", fh.get_include()]
    done = subprocess.run([compiler, standard, *flags, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@given(problem=search_problems(), n_threads=st.integers(0, 3))
def test_distances(consumer, problem, n_threads):
    queries, database, _ = problem
    np.testing.assert_array_equal(
        consumer.distances(queries, database, n_threads), reference.distances(queries, database)
    )


@given(
    problem=search_problems(),
    k=st.integers(1, 45),
    n_threads=st.integers(0, 3),
    masked=st.booleans(),
)
def test_topk(consumer, problem, k, n_threads, masked):
    queries, database, _ = problem
    allowed = np.arange(len(database), dtype=np.uint8) % 3 if masked else None
    flags = np.append(allowed, np.uint8(7)) if masked else None
    mask = None if allowed is None else allowed != 0
    expected = fh.topk(queries, database, k, filter=mask)
    for ours, theirs in zip(
        consumer.topk(queries, database, k, flags, n_threads), expected, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@given(problem=search_problems(), n_threads=st.integers(0, 3))
def test_rank(consumer, problem, n_threads):
    queries, database, _ = problem
    ids = consumer.rank(queries, database, n_threads)
    np.testing.assert_array_equal(ids, fh.rank(queries, database))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("k", [8749, 8750, 69_999, 70_000])
def test_topk_of_many(consumer, k, n_threads):
    """Around the share from which all rows are sorted, over several blocks of the sort."""
    database = random_codes(70_000, 16)
    allowed = np.ones(70_000, np.uint8)
    allowed[::7] = 0
    for flags in (None, allowed):
        ours = consumer.topk(database[:5], database, k, flags, n_threads)
        mask = None if flags is None else flags != 0
        theirs = fh.topk(database[:5], database, k, filter=mask)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@given(
    problem=search_problems(),
    radius=st.integers(0, 1100),
    n_threads=st.integers(0, 3),
    masked=st.booleans(),
)
def test_within(consumer, problem, radius, n_threads, masked):
    queries, database, _ = problem
    allowed = np.arange(len(database) + 1, dtype=np.uint8) % 3 if masked else None
    mask = None if allowed is None else allowed[:-1] != 0
    expected = fh.within(queries, database, radius, filter=mask)
    for ours, theirs in zip(
        consumer.within(queries, database, radius, allowed, n_threads), expected, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def label_words(labels):
    """Booleans, a row per code, as bits of 64-bit words: the labels of the C interface."""
    bits = np.zeros((len(labels), -(-labels.shape[1] // 64) * 64), bool)
    bits[:, : labels.shape[1]] = labels
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint64)


@given(
    n_bits=st.sampled_from([1, 9, 64, 70]),
    n_queries=st.integers(1, 9),
    n=st.integers(1, 300),
    n_classes=st.sampled_from([1, 3, 65]),
    at=st.sampled_from([1, 3, 2**63 - 1]),
    n_threads=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_average_precision(consumer, n_bits, n_queries, n, n_classes, at, n_threads, seed):
    rng = np.random.default_rng(seed)
    queries, database = random_codes(n_queries, n_bits, seed), random_codes(n, n_bits, seed + 1)
    query_labels = rng.random((n_queries, n_classes)) < 0.3
    labels = rng.random((n, n_classes)) < 0.3
    scores = consumer.average_precision(
        queries, database, label_words(query_labels), label_words(labels), at, n_threads
    )
    sparse = [csr_array(some) for some in (query_labels, labels)]
    expected = fh.average_precision(queries, database, *sparse, at=min(at, n), ties="database")
    np.testing.assert_array_equal(scores, expected)


def test_average_precision_over_several_chunks(consumer):
    """More relevant codes than the scratch of one chunk has room for."""
    queries, database = random_codes(60, 64), random_codes(100_000, 64, seed=1)
    query_labels, labels = np.arange(60) % 3, np.arange(100_000) % 3
    words = [label_words(np.eye(3, dtype=bool)[some]) for some in (query_labels, labels)]
    scores = consumer.average_precision(queries, database, *words, 2**63 - 1, 1)
    expected = fh.average_precision(queries, database, query_labels, labels, ties="database")
    np.testing.assert_array_equal(scores, expected)


def with_gaps(codes, gap, start=1):
    """The same rows, so many bytes apart, in a wider array of ones."""
    wide = np.full((len(codes), codes.shape[1] + gap), 255, np.uint8)
    start = min(start, gap)
    wide[:, start : start + codes.shape[1]] = codes
    return wide[:, start : start + codes.shape[1]]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@given(
    problem=search_problems(),
    gaps=st.tuples(st.sampled_from([0, 1, 8, 300]), st.sampled_from([0, 1, 8, 300])),
    k=st.integers(1, 45),
    radius=st.integers(0, 1100),
    room=st.integers(0, 30),
    n_threads=st.integers(0, 3),
    masked=st.booleans(),
    polled=st.booleans(),
)
def test_rows_with_gaps(consumer, problem, gaps, k, radius, room, n_threads, masked, polled):
    queries, database, _ = problem
    allowed = np.arange(len(database) + 1, dtype=np.uint8) % 3 if masked else None
    mask = None if allowed is None else allowed[:-1] != 0
    rows = with_gaps(queries, gaps[0]), with_gaps(database, gaps[1])
    search = consumer.Described(*rows, allowed, n_threads, 1 << 30 if polled else -1)
    np.testing.assert_array_equal(search.distances(), reference.distances(queries, database))
    np.testing.assert_array_equal(search.rank(), fh.rank(queries, database))
    assert_same(search.topk(k), fh.topk(queries, database, k, filter=mask))
    expected = fh.within(queries, database, radius, filter=mask)
    n_found = len(expected[1])
    for n_room in (0, n_found, n_found + room, max(0, n_found - 1 - room)):
        answer = search.within(radius, n_room)
        np.testing.assert_array_equal(answer[0], expected[0])
        assert (answer[1] is None) == (n_room < n_found)
        if n_room >= n_found:
            assert_same(answer, expected)


@given(
    problem=search_problems(max_queries=9, max_codes=2000),
    gap=st.sampled_from([0, 1, 300]),
    k=st.integers(1, 90),
    scale=st.sampled_from([0.0, 5e-324, 1e-300, 1.0, 1e300]),
    n_threads=st.integers(0, 3),
    masked=st.booleans(),
    polled=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_topk_weighted(consumer, problem, gap, k, scale, n_threads, masked, polled, seed):
    queries, database, n_bits = problem
    weights = scale * np.random.default_rng(seed).normal(size=(len(queries), n_bits))
    allowed = np.arange(len(database) + 1, dtype=np.uint8) % 3 if masked else None
    mask = None if allowed is None else allowed[:-1] != 0
    rows = with_gaps(database, gap)
    search = consumer.Described(queries, rows, allowed, n_threads, 1 << 30 if polled else -1)
    assert_same(
        search.topk_weighted(weights, k), fh.topk_weighted(weights, database, k, filter=mask)
    )


@given(
    problem=search_problems(max_queries=80, max_codes=200),
    gaps=st.tuples(st.sampled_from([0, 3]), st.sampled_from([0, 3])),
    k=st.integers(1, 30),
    radius=st.integers(0, 60),
    n_threads=st.integers(0, 3),
    masked=st.booleans(),
    polled=st.booleans(),
)
def test_an_index(consumer, problem, gaps, k, radius, n_threads, masked, polled):
    queries, database, n_bits = problem
    allowed = np.arange(len(database) + 1, dtype=np.uint8) % 3 if masked else None
    mask = None if allowed is None else allowed[:-1] != 0
    rows = with_gaps(queries, gaps[0]), with_gaps(database, gaps[1])
    search = consumer.Described(*rows, allowed, n_threads, 1 << 30 if polled else -1)
    index = consumer.Index(search, n_bits)
    assert_same(search.topk(k, index), fh.topk(queries, database, k, filter=mask))
    expected = fh.within(queries, database, radius, filter=mask)
    n_found = len(expected[1])
    assert_same(search.within(radius, n_found, index), expected)
    if n_found > 0:
        answer = search.within(radius, n_found - 1, index)
        np.testing.assert_array_equal(answer[0], expected[0])
        assert answer[1] is None


@pytest.mark.parametrize(
    ("level", "n_queries", "n_bytes"),
    [
        *((fh.simd_levels()[-1], *sizes) for sizes in [(1, 16), (3, 8), (40, 5)]),
        *((level, 70, 16) for level in fh.simd_levels()),
    ],
)
def test_a_search_in_many_steps(consumer, level, n_queries, n_bytes):
    """Rows that are copied some at a time, and searches that ask whether to go on."""
    n = 300_000
    database = random_codes(n, 8 * n_bytes)
    queries, k = database[:: n // n_queries][:n_queries], 70
    few, radius = queries[:2], 2 * n_bytes
    allowed = (np.arange(len(database)) % 4 != 1).astype(np.uint8)
    n_calls = 0
    with simd(level):
        for gap, n_threads, polls, flags in [(8, 2, -1, allowed), (0, 2, 1 << 30, None),
                                             (3, 1, 1 << 30, allowed)]:  # fmt: skip
            mask = None if flags is None else flags != 0
            rows = with_gaps(database, gap)
            search = consumer.Described(with_gaps(queries, gap), rows, flags, n_threads, polls)
            assert_same(search.topk(k), fh.topk(queries, database, k, filter=mask))
            expected = fh.within(queries, database, radius, filter=mask)
            assert_same(search.within(radius, len(expected[1])), expected)
            n_calls += search.n_calls
            search = consumer.Described(few, rows, flags, n_threads, polls)
            assert_same(search.topk(n // 2), fh.topk(few, database, n // 2, filter=mask))
            np.testing.assert_array_equal(search.rank(), fh.rank(few, database))
            np.testing.assert_array_equal(search.distances(), fh.distances(few, database))
    assert n_calls > 0 or n_queries < 40


@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("n_calls", [0, 1])
def test_a_search_is_ended(consumer, n_calls, gap):
    """By the first or second answer that is not 0; an exception that was set there stays."""
    database = with_gaps(random_codes(1_000_000, 64), gap)
    queries = database[:60]

    def ended(n_queries, name, *arguments):
        for raises, exception in ((False, RuntimeError), (True, KeyError)):
            search = consumer.Described(queries[:n_queries], database, None, 2, n_calls, raises)
            with pytest.raises(exception, match="ended" if raises else "stopped by its poll"):
                getattr(search, name)(*arguments)
            assert search.n_calls == n_calls + 1

    ended(60, "topk", 10)
    ended(60, "within", 20, 0)
    ended(4, "topk", 500_000)
    ended(4, "rank")
    ended(10, "distances")


def test_an_index_refuses_padding_that_is_set(consumer):
    code = np.full((1, 1), 255, np.uint8)
    for n_bits in (7, 9, -1):
        with pytest.raises(ValueError, match="n_bits must be 0 or the bits"):
            consumer.Index(consumer.Described(code, code, None, 1), n_bits)
    index = consumer.Index(consumer.Described(code, code - 1, None, 1), 7)
    with pytest.raises(ValueError, match="the padding bits must be 0"):
        consumer.Described(code, code, None, 1).topk(1, index)


def test_errors(consumer):
    good = dict(n_queries=1, n=1, n_bytes=8, k=1, n_threads=1)
    assert consumer.raw_topk(**good) == 0
    assert consumer.raw_topk(**{**good, "n_queries": 0}, null_codes=False) == 0
    assert consumer.raw_topk(**good, null_codes=True) == 2
    assert consumer.raw_topk(**good, null_output=True) == 2
    for changes, error in [
        ({"n_queries": -1}, 3),
        ({"n": -1}, 3),
        ({"n_bytes": 0}, 4),
        ({"n_bytes": 2**31}, 4),
        ({"k": 0}, 5),
        ({"n_threads": -1}, 7),
    ]:
        assert consumer.raw_topk(**{**good, **changes}) == error
    assert consumer.raw_within(8) == (0, False)
    assert consumer.raw_within(-1) == (6, True)
    assert consumer.raw_average_precision(1, 1, 1) == 0
    assert consumer.raw_average_precision(2**31, 1, 1) == 3
    assert consumer.raw_average_precision(1, 0, 1) == 8
    assert consumer.raw_average_precision(1, 1, 0) == 9


def test_an_error_becomes_an_exception(consumer):
    codes = random_codes(2, 64)
    with pytest.raises(ValueError, match="radius must be at least 0"):
        consumer.within(codes, codes, -1, None, 1)


def test_several_threads_call_at_once(consumer):
    database = random_codes(20_000, 128)
    expected = fh.topk(database[:50], database, 10)
    answers = [None] * 8

    def search(i):
        answers[i] = consumer.topk(database[:50], database, 10, None, 1)

    threads = [threading.Thread(target=search, args=(i,)) for i in range(len(answers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        np.testing.assert_array_equal(answer[1], expected[1])
