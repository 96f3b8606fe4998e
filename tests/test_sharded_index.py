"""A sharded index on two processes answers as one index in this process, whatever happens."""

import contextlib
import os
import pathlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

import fasthash as fh
from clusters import MEMORY_LIMIT, kill, one_waits_to_rename, pids, wait_for
from fasthash._core.carried import Carried
from fasthash._core.merges import MOST_ANSWERS
from fasthash.distributed import _shards
from fasthash.distributed._direct import direct_answers
from fasthash.distributed._merging import merge_nearest
from reference.index import Index as Twin
from strategies import random_codes

da = pytest.importorskip("dask.array", reason="needs Dask, of the extra `distributed`")

N_BITS = 65


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.fixture(scope="module")
def problem():
    """Codes with many equal distances, ids in no order, and queries."""
    rng = np.random.default_rng(7)
    codes = random_codes(40, N_BITS)[rng.integers(0, 40, 2000)]
    ids = rng.choice(100_000, len(codes), replace=False)
    return codes, ids, codes[:9]


@pytest.fixture
def one(problem):
    index = fh.HammingIndex(N_BITS)
    index.add(problem[0], ids=problem[1])
    return index


def sharded(client, problem, rows=300):
    codes, ids, _ = problem
    index = fh.distributed.ShardedIndex(N_BITS, client=client)
    index.add(da.from_array(codes, chunks=(rows, 4)), ids=da.from_array(ids, chunks=rows))
    return index


@pytest.fixture(scope="module")
def shared(client, problem):
    """An index of seven shards, which no test changes."""
    return sharded(client, problem)


@pytest.mark.parametrize("k", [1, 3, 5000])
def test_searches_are_those_of_one_index(shared, one, problem, k):
    queries = problem[2]
    assert len(shared) == len(one) and len(shared.shard_sizes) == 7
    assert_same(shared.search(queries, k), one.search(queries, k))
    assert_same(shared.search(queries[:0], k), one.search(queries[:0], k))
    weights = np.random.default_rng(k).standard_normal((4, N_BITS))
    assert_same(shared.search(weights=weights, k=k), one.search(weights=weights, k=k))
    options = {"weights": weights, "k": k, "candidates": 100}
    assert_same(shared.search(**options), one.search(**options))


@pytest.mark.parametrize("radius", [0, 30, 65])
def test_ranges_are_those_of_one_index(shared, one, problem, radius):
    assert_same(shared.within(problem[2], radius), one.within(problem[2], radius))


def test_a_search_agrees_with_the_twin(shared, problem):
    codes, ids, queries = problem
    twin = Twin(N_BITS)
    twin.add(codes, ids)
    assert_same(shared.search(queries[:2], 12), twin.search(queries[:2], 12))


def test_filters_and_excluded_ids(shared, one, problem):
    _, ids, queries = problem
    own = ids[: len(queries)]
    for chosen in (ids[::3], set(ids[:50].tolist()), lambda held: held % 2 == 0, []):
        options = {"filter": chosen, "exclude": own}
        assert_same(shared.search(queries, 4, **options), one.search(queries, 4, **options))
        assert_same(shared.within(queries, 20, **options), one.within(queries, 20, **options))
        prepared = shared.prepare_filter(chosen)
        for _ in range(2):
            assert_same(
                shared.search(queries, 4, filter=prepared), one.search(queries, 4, filter=chosen)
            )


def test_queries_that_are_a_dask_array(client, shared, one, problem):
    _, ids, queries = problem
    lazy = da.from_array(queries, chunks=(4, 2))
    own, chosen = ids[: len(queries)], ids[::2]
    distances, found = shared.search(lazy, 3, exclude=own, filter=chosen)
    assert isinstance(found, da.Array) and found.shape == (9, 3) and found.chunks[0] == (4, 4, 1)
    expected = one.search(queries, 3, exclude=own, filter=chosen)
    assert_same(client.gather(client.compute([distances, found])), expected)
    weights = np.random.default_rng(0).standard_normal((5, N_BITS))
    answer = shared.search(weights=da.from_array(weights, chunks=(2, 65)), k=3)
    assert_same(client.gather(client.compute(list(answer))), one.search(weights=weights, k=3))
    empty = fh.distributed.ShardedIndex(N_BITS, client=client)
    answer = client.gather(client.compute(list(empty.search(lazy, 2))))
    assert_same(answer, fh.HammingIndex(N_BITS).search(queries, 2))
    for refused, name in (
        (lambda: shared.within(lazy, 3), "queries is a Dask array"),
        (lambda: shared.search(weights=lazy * 1.0, k=3), "weights has 9 columns"),
        (lambda: shared.search(lazy, 3, exclude=own[:2]), "exclude must have one id per query"),
    ):
        with pytest.raises((TypeError, ValueError), match=name):
            refused()


def test_many_shards_are_merged_by_workers(client, problem, one):
    index = sharded(client, problem, rows=100)
    assert len(index.shard_sizes) == 20 > MOST_ANSWERS
    assert_same(index.search(problem[2], 30), one.search(problem[2], 30))
    assert_same(index.within(problem[2], 25), one.within(problem[2], 25))
    lazy = index.search(da.from_array(problem[2], chunks=-1), 30)
    assert_same(client.gather(client.compute(list(lazy))), one.search(problem[2], 30))


def test_changes_are_those_of_one_index(client, problem, one):
    codes, ids, queries = problem
    index = sharded(client, problem)
    new = random_codes(30, N_BITS, seed=3)
    for change in (
        lambda i: i.remove(ids[:400:7]),
        lambda i: i.remove([ids[0], 200_000], missing="ignore"),
        lambda i: i.add(new[:10]),
        lambda i: i.add(new[:10], ids=ids[20:30], replace=True),
        lambda i: i.update(new[10:12], ids=ids[[302, 1999]]),
        lambda i: i.add(new[:0]),
    ):
        assert change(index) == change(one)
        assert_same(index.search(queries, 20), one.search(queries, 20))
        assert len(index) == len(one)
    chosen = np.array([ids[5], ids[1999], ids[5], ids[302]])
    np.testing.assert_array_equal(index.reconstruct(chosen), one.reconstruct(chosen))
    # Further partitions, numbered on from the largest id that was ever held.
    index.add(da.from_array(codes[:500], chunks=(200, 9)))
    one.add(codes[:500])
    assert_same(index.search(queries, 700), one.search(queries, 700))


def test_a_refused_change_changes_nothing(client, problem, one):
    codes, ids, queries = problem
    index = sharded(client, problem)
    lazy = da.from_array(codes[:20], chunks=(10, 9))
    too_long = da.zeros((4 * MEMORY_LIMIT // 64, 9), dtype=np.uint8, chunks=(MEMORY_LIMIT // 32, 9))
    for change, message in (
        (lambda: index.add(codes[:2], ids=ids[:2]), "has already: leave it out"),
        (lambda: index.add(codes[:2, :3]), "codes has codes of 3 bytes"),
        (lambda: index.add(lazy, ids=da.from_array(ids[:20], chunks=10)), "more than once"),
        (lambda: index.add(lazy, ids=np.arange(200_000, 200_019)), "ids has 19 values"),
        (lambda: index.add(lazy, ids=-np.arange(20)), r"partition \d: ids holds -\d+"),
        (lambda: index.add(lazy | 1), r"partition \d: codes"),
        (lambda: index.add(lazy[:, :4]), r"codes must have shape \(n, 9\)"),
        (lambda: index.add(lazy * 1.0), "codes must be packed codes of dtype uint8"),
        (lambda: index.add(lazy, replace=True), "replace=True needs codes of this process"),
        (lambda: index.add(too_long), "partition 0 of codes has 33,554,432 rows"),
        (lambda: index.remove([ids[0], 500_000]), "500000, which the index does not hold"),
        (lambda: index.update(codes[:1], ids=[500_000]), "500000, which the index does not hold"),
        (lambda: index.reconstruct([500_000]), "500000, which the index does not hold"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            change()
        assert len(index) == len(one)
    assert_same(index.search(queries, 20), one.search(queries, 20))


def test_partitions_of_unknown_size(client, problem, one):
    codes, ids, queries = problem
    lazy = da.from_array(codes, chunks=(300, 9))
    lazy_ids = da.from_array(ids, chunks=300)
    index = fh.distributed.ShardedIndex(N_BITS, client=client)
    kept = lazy_ids % 2 == 0
    index.add(lazy[kept], ids=lazy_ids[kept])
    expected = one.search(queries, 9, filter=ids[ids % 2 == 0])
    assert_same(index.search(queries, 9), expected)


def test_saved_and_opened(client, problem, one, tmp_path):
    index = sharded(client, problem)
    index.model = "some model"
    folder = tmp_path / "saved"
    index.save(folder, tables=True)
    for mmap in (True, False):
        opened = fh.distributed.ShardedIndex.load(folder, mmap=mmap, client=client)
        assert opened.model == "some model" and opened.shard_sizes == index.shard_sizes
        assert_same(opened.search(problem[2], 9), one.search(problem[2], 9))
        # Changes of a mapped index stay in memory.
        opened.remove(problem[1][:5])
        assert len(opened) == len(one) - 5
    assert fh.load(folder / "shard-00000.index").model == "some model"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match="name a new folder"):
        opened.save(folder)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "shard-00001.index").write_bytes((folder / "shard-00006.index").read_bytes())
    with pytest.raises(ValueError, match="200 codes, and the manifest says 300"):
        fh.distributed.ShardedIndex.load(folder, client=client)
    for content in ("{", "[]", '{"format": "fasthash shards 1"}', '{"format": "later"}'):
        (folder / "manifest.json").write_text(content)
        with pytest.raises(ValueError, match=r"is damaged|reads 'fasthash shards 1'"):
            fh.distributed.ShardedIndex.load(folder, client=client)
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="its writer was interrupted"):
        fh.distributed.ShardedIndex.load(folder, client=client)


def test_a_failed_save_leaves_no_manifest(client, shared, tmp_path):
    folder = tmp_path / "file" / "folder"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        shared.save(folder)
    with pytest.raises(FileNotFoundError):
        fh.distributed.ShardedIndex.load(folder, client=client)


def test_a_worker_killed_in_the_middle_of_a_save(client, problem, one, tmp_path):
    index = sharded(client, problem)
    folder = tmp_path / "saved"
    with ThreadPoolExecutor(1) as pool, one_waits_to_rename(client, tmp_path) as kill_it:
        saved = pool.submit(index.save, folder)
        kill_it()
        saved.result()
    # Not the temporary file of the worker that was killed.
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        *(f"shard-{place:05d}.index" for place in range(7)),
    ]
    opened = fh.distributed.ShardedIndex.load(folder, mmap=False, client=client)
    assert_same(opened.search(problem[2], 9), one.search(problem[2], 9))


@pytest.mark.parametrize("source", ["partitions", "files"])
def test_a_worker_killed_in_the_middle_of_a_search(client, problem, one, tmp_path, source):
    index = sharded(client, problem)
    # A change, which is made again, too.
    assert index.remove(problem[1][:3]) == one.remove(problem[1][:3])
    if source == "files":
        index.save(tmp_path / "saved")
        index = fh.distributed.ShardedIndex.load(tmp_path / "saved", client=client)
    marker = tmp_path / "pid"

    def waits_once(ids, marker=str(marker)):
        """All ids; the first worker that asks says who it is, and waits to be killed."""
        try:
            with open(marker, "x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return ids >= 0
        time.sleep(600)

    lazy = index.search(da.from_array(problem[2], chunks=-1), 20, filter=waits_once)
    answer = client.compute(list(lazy))
    pid = int(wait_for(marker))
    kill(pid)
    assert_same(client.gather(answer), one.search(problem[2], 20))
    # All shards are there again.
    assert_same(index.search(problem[2], 20), one.search(problem[2], 20))
    client.wait_for_workers(2)
    assert pid not in pids(client)


def test_few_queries_need_no_task(client, shared, one, problem):
    def prepare_everywhere(given, token, dask_worker):
        """Dask may hold a shard on several workers; a search prepares the filter on one."""
        for held in list(dask_worker.data.values()):
            if isinstance(held, _shards.Shard):
                held.filter(given, token)

    _, ids, queries = problem
    shards = shared._state.shards
    call = partial(_shards.nearest, k=3, is_weighted=False, n_threads=1)
    answers = direct_answers(client, shards, call, [queries, None, None, None])
    assert_same(merge_nearest(answers, 3), one.search(queries, 3))
    # An answer of a single shard, which nothing merges, belongs to the caller, too.
    assert all(x.flags.writeable for answer in answers for x in answer)
    prepared = shared.prepare_filter(ids[:50])
    request = [queries, prepared._given, prepared._token, None]
    assert direct_answers(client, shards, call, request) is None
    client.run(prepare_everywhere, ids[:50], prepared._token)
    answers = direct_answers(client, shards, call, request)
    assert_same(merge_nearest(answers, 3), one.search(queries, 3, filter=ids[:50]))
    for refused in (
        [np.tile(queries, (2, 1)), None, None, None],
        [queries, np.arange(10_000), None, None],
        [queries, Carried(lambda held: held > 0, "it"), None, None],
    ):
        assert direct_answers(client, shards, call, refused) is None
    none = [queries[:, :2], None, None, None]
    assert direct_answers(client, shards, call, none) is None
    with pytest.raises(KeyError, match="no longer kept"):
        _shards.Shard(one).filter(None, prepared._token)


def test_a_worker_killed_while_it_answers_few_queries(client, problem, one, tmp_path):
    index = sharded(client, problem)
    marker = tmp_path / "pid"

    def waits(shard, request, marker=str(marker)):
        with contextlib.suppress(FileExistsError), open(marker, "x") as file:
            file.write(str(os.getpid()))
        time.sleep(1 if pathlib.Path(marker).read_text() != str(os.getpid()) else 600)

    with ThreadPoolExecutor(1) as threads:
        request = [problem[2], None, None, None]
        answers = threads.submit(direct_answers, client, index._state.shards[:2], waits, request)
        kill(int(wait_for(marker)))
        assert answers.result() is None
    assert_same(index.search(problem[2], 20), one.search(problem[2], 20))
    client.wait_for_workers(2)


def test_lost_files_are_an_error(client, shared, tmp_path):
    shared.save(tmp_path / "saved")
    index = fh.distributed.ShardedIndex.load(tmp_path / "saved", client=client)
    for path in (tmp_path / "saved").glob("*.index"):
        path.unlink()
    for pid in pids(client):
        kill(pid)
    with pytest.raises(FileNotFoundError, match=r"shard-0000\d.index"):
        index.search(random_codes(1, N_BITS), 3)


def test_a_slow_worker(client, shared, one, problem):
    slow = pids(client)[0]

    def slow_on_one(ids):
        time.sleep(0.05 * (os.getpid() == slow))
        return ids % 2 == 0

    expected = one.search(problem[2], 9, filter=lambda ids: ids % 2 == 0)
    assert_same(shared.search(problem[2], 9, filter=slow_on_one), expected)


def test_a_recall_is_passed_on(shared, one, problem):
    """Shards of so few codes are searched exactly; a wrong recall is refused before."""
    queries = problem[2]
    assert_same(shared.search(queries, 3, recall=0.9), one.search(queries, 3))
    weights = np.random.default_rng(0).standard_normal((4, N_BITS))
    options = {"weights": weights, "k": 3, "candidates": 50}
    assert_same(shared.search(**options, recall=0.9), one.search(**options))
    with pytest.raises(ValueError, match="recall must be at most 1"):
        shared.search(queries, 3, recall=2)


def even(ids):
    """A function of a module that workers cannot import, because pytest has found it by itself."""
    return ids % 2 == 0


class OwnITQ(fh.ITQ):
    """A class of such a module."""


def test_what_workers_cannot_import_is_an_error(client, shared, one, problem):
    queries = problem[2]
    message = "workers of the cluster cannot import the function that is the filter.*upload_file"
    for given in (even, shared.prepare_filter(even)):
        with pytest.raises(ImportError, match=message):
            shared.search(queries, 3, filter=given)
        with pytest.raises(ImportError, match=message):
            shared.within(queries, 3, filter=given)
        lazy = shared.search(da.from_array(queries, chunks=-1), 3, filter=given)
        with pytest.raises(ImportError, match=message):
            client.compute(lazy[1]).result()
    x = np.random.default_rng(0).standard_normal((50, 9))
    model = OwnITQ(8).fit(x)
    with pytest.raises(ImportError, match="cannot import the class of the model"):
        client.compute(model.transform(da.from_array(x, chunks=(25, 9)))).result()
    # The workers are there as before. A function that is sent as a whole needs no module.
    found = shared.search(queries, 3, filter=lambda ids: ids % 2 == 0)
    assert_same(found, one.search(queries, 3, filter=even))


def test_arguments_are_checked_before_anything_is_sent(client, shared, problem):
    queries = problem[2]
    for call, message in (
        (lambda: shared.search(queries, 0), "k must be at least 1"),
        (lambda: shared.search(queries), "k is missing"),
        (lambda: shared.search(), "pass either queries"),
        (lambda: shared.search(queries[:, :2], 3), "queries has codes of 2 bytes"),
        (lambda: shared.search(queries, 3, filter=[0.5]), "filter must be ids"),
        (lambda: shared.search(queries, 3, exclude=[1]), "exclude must have one id per query"),
        (lambda: shared.search(queries, 3, unknown=1), "unknown"),
        (lambda: shared.within(queries, -1), "radius must be at least 0"),
        (lambda: shared.prepare_filter([0.5]), "filter must be ids"),
        (lambda: fh.distributed.ShardedIndex(0, client=client), "n_bits must be at least 1"),
        (lambda: fh.distributed.ShardedIndex(8, client="tcp://a"), "client must be a distributed"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def test_a_search_of_a_model(client):
    """What has the interface of an index is a database of every model."""
    x = np.random.default_rng(0).standard_normal((300, 20))
    model = fh.ITQ(n_bits=16, random_state=0).fit(x)
    codes = model.transform(x)
    index, one = fh.distributed.ShardedIndex(16, client=client), fh.HammingIndex(16)
    index.add(da.from_array(codes, chunks=(100, 2)))
    one.add(codes)
    assert_same(model.search(x[:5], index, k=4), model.search(x[:5], one, k=4))


def test_the_import_needs_no_dask():
    """A process without a client imports the package, and is told what is missing."""
    import subprocess
    import sys

    call = (
        "import sys, fasthash as fh; fh.distributed.ShardedIndex; "
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", call], check=True, cwd=pathlib.Path.home())
    call = "import fasthash as fh; fh.distributed.ShardedIndex(8)"
    told = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert "there is no client of a Dask cluster: make one" in told.stderr
