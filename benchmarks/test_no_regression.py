"""A gate for continuous integration: is anything much slower than it must be on this machine?

    pytest benchmarks/test_no_regression.py        less than a minute

Two things that ran in turn are compared, never a time with a number from another machine. The
margins are a fraction of what run.py reports, so that noise does not fail them and a lost kernel
does: a scan that went back to one code at a time, a bound that no longer falls, a sort in place of
counting.
"""

from functools import cache, partial

import numpy as np
import pytest

import fasthash as fh
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import interleave
from limits import Limits, NoCompilerError
from machine import level
from peers import (
    as_signs,
    check_same,
    numpy_bitwise_count,
    product_average_precision,
    xor_distances,
)

N = 200_000
N_QUERIES = 256
REPEATS = 9

# Least median ratio, a half to a tenth of what is usual.
SHARE_OF_LIMIT = 0.3
NUMPY_SEARCH = {"scalar": 1.5, "vector": 10.0}
NUMPY_ONE_QUERY = {"scalar": 1.0, "vector": 3.0}
NUMPY_RANK = 0.4
NUMPY_AVERAGE_PRECISION = {"scalar": 1.0, "vector": 1.5}
MASK_OF_A_HUNDREDTH = 0.5
AVX2_OVER_PORTABLE = 2.0

# The portable level is not held to the limit of a popcount instruction it may not use.
kind_of_level = "scalar" if fh.simd_level() == "scalar" else "vector"


@cache
def probe():
    try:
        return Limits()
    except NoCompilerError as error:
        pytest.skip(str(error))


@pytest.mark.skipif(kind_of_level == "scalar", reason="only the portable level here")
@pytest.mark.parametrize("n_bits", [64, 256, 1024])
def test_topk_against_the_limit(n_bits):
    limits = probe()
    if fh.simd_level() not in limits.levels:
        pytest.skip(f"the probe has no loop for the level {fh.simd_level()}")
    database, queries = make_codes("uniform", N, N_QUERIES, n_bits)
    scan = limits.scan(fh.simd_level(), n_bits).lasting(0.02)
    rounds = interleave(
        {"topk": partial(fh.topk, queries, database, 10, n_threads=1), "limit": scan.run}, REPEATS
    )
    share = rounds.ratio("limit", "topk").times(N * N_QUERIES / scan.n_distances)
    assert share.median >= SHARE_OF_LIMIT, f"topk reaches {share} of the limit"


@pytest.mark.skipif("avx2" not in fh.simd_levels(), reason="this machine has no AVX2")
@pytest.mark.parametrize("n_bits", [64, 256, 1024])
def test_avx2_against_the_portable_level(n_bits):
    database, queries = make_codes("uniform", N, 16, n_bits)

    def topk_at(name):
        with level(name):
            return fh.topk(queries, database, 10, n_threads=1)

    rounds = interleave({name: partial(topk_at, name) for name in ("avx2", "scalar")}, REPEATS)
    ratio = rounds.ratio("scalar", "avx2")
    assert ratio.median >= AVX2_OVER_PORTABLE, f"the portable level takes {ratio} of AVX2's time"


@pytest.mark.parametrize("n_bits", [64, 256])
@pytest.mark.parametrize(("n_queries", "least"), [(8, NUMPY_SEARCH), (1, NUMPY_ONE_QUERY)])
def test_topk_against_numpy(n_bits, n_queries, least):
    database, queries = make_codes("uniform", N, N_QUERIES, n_bits)
    search = numpy_bitwise_count(database)
    few = queries[:n_queries]
    # A batch for fasthash, some of it for numpy, which answers query by query.
    own = queries if n_queries > 1 else few
    topk = partial(fh.topk, own, database, 10, n_threads=1)
    check_same(tuple(part[:n_queries] for part in topk()), search(few, 10), "topk", same_ids=False)
    rounds = interleave({"topk": topk, "numpy": partial(search, few, 10)}, REPEATS)
    ratio = rounds.ratio("numpy", "topk").times(len(own) / n_queries)
    assert ratio.median >= least[kind_of_level], f"numpy takes {ratio} of topk's time"


def test_rank_against_numpy():
    database, queries = make_codes("uniform", N, 4, 256)
    words = database.view(np.uint64)
    distances = np.stack([xor_distances(query, words) for query in queries.view(np.uint64)])
    rounds = interleave(
        {
            "rank": partial(fh.rank, queries, database, n_threads=1),
            "numpy": partial(np.argsort, distances, axis=1, kind="stable"),
        },
        REPEATS,
    )
    ratio = rounds.ratio("numpy", "rank")
    assert ratio.median >= NUMPY_RANK, f"a radix sort takes {ratio} of rank's time"


@pytest.mark.parametrize("ties", ["database", "expected"])
def test_average_precision_against_numpy(ties):
    database, queries = make_codes("clustered", 50_000, 100, 64)
    rng = np.random.default_rng(0)
    query_labels, labels = rng.integers(0, 10, 100), rng.integers(0, 10, 50_000)
    few = 5
    loop = partial(
        product_average_precision,
        as_signs(queries[:few]), as_signs(database), query_labels[:few], labels,
    )  # fmt: skip
    own = partial(
        fh.average_precision, queries, database, query_labels, labels, ties=ties, n_threads=1
    )
    rounds = interleave({"own": own, "loop": loop}, REPEATS)
    ratio = rounds.ratio("loop", "own").times(100 / few)
    least = NUMPY_AVERAGE_PRECISION[kind_of_level]
    assert ratio.median >= least, f"the loop takes {ratio} of fasthash's time"


def test_what_a_mask_leaves_out_is_not_scanned():
    database, queries = make_codes("uniform", N, N_QUERIES, 256)
    mask = np.random.default_rng(0).random(N) < 0.01
    rounds = interleave(
        {
            "masked": partial(fh.topk, queries, database, 10, n_threads=1, filter=mask),
            "all": partial(fh.topk, queries, database, 10, n_threads=1),
        },
        REPEATS,
    )
    ratio = rounds.ratio("masked", "all")
    assert ratio.median <= MASK_OF_A_HUNDREDTH, f"a hundredth of the rows takes {ratio} of the time"
