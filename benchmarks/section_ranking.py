"""Mean average precision against the usual numpy loop, full ranking against numpy's radix sort."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

import fasthash as fh
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import interleave
from peers import (
    as_signs,
    product_average_precision,
    xor_average_precision,
    xor_distances,
)
from report import Context, Table, ratio_cell

TITLE = "Ranking and mean average precision"

WIDTHS = (64, 256)
N_CLASSES = 10
# The numpy loop is slow, and a query costs it the same as the next.
N_LOOP_QUERIES = 10
MAP_RATIO = 40.0
RANK_RATIOS = {64: 2.0, 256: 7.0}
# By profile, and by loops that do nothing else.
WHY_MAP = {
    "database": "every code takes an increment in memory and a place written: 0.45 ns, about 1 ns "
    "with distances, notes and their sum, on a quiet machine",
    "expected": "every code takes an increment in memory: 0.3 ns, 0.6 ns in all on a quiet machine",
}
WHY_RANK = (
    "placing, sorting within blocks and writing 8 bytes per item take a third of the time each; "
    "the target was set where numpy took {then} ns per item, here it takes {now:.1f} ns"
)
RANK_NUMPY = {64: 3.9, 256: 19.6}


def run(context: Context) -> Iterator[Table]:
    n, n_queries = (20_000, 100) if context.quick else (200_000, 2000)
    yield Table(
        (
            "bits", "ties", "ns per item and query", "product and sort ÷ fasthash",
            "target", "xor and radix sort ÷ fasthash",
        ),
        [row for n_bits in WIDTHS for row in _average_precision(context, n, n_queries, n_bits)],
        f"Mean average precision: {n_queries:,} queries, n = {n:,} clustered codes, {N_CLASSES} "
        f"classes, one thread. The usual loop takes {N_LOOP_QUERIES} of the queries, one by one: "
        "distances by a matrix product of ±1, numpy's default argsort, cumulative precision. The "
        "last column is the fastest loop numpy allows: xor and `bitwise_count` into the narrowest "
        "type, for which the stable argsort is a radix sort. Values in database order were "
        "compared with it.",
    )  # fmt: skip
    yield Table(
        ("bits", "distances as", "ns per item and query", "numpy ÷ fasthash", "target"),
        [_rank(context, n, n_bits) for n_bits in WIDTHS],
        f"Full ranking: n = {n:,} uniform codes, one thread. numpy's stable argsort is a radix "
        "sort at these types and gets its distances for nothing; `rank` computes its own.",
    )


def _average_precision(
    context: Context, n: int, n_queries: int, n_bits: int
) -> Iterator[tuple[str, ...]]:
    context.progress(f"mean average precision: {n_bits} bits")
    database, queries = make_codes("clustered", n, n_queries, n_bits)
    rng = np.random.default_rng(0)
    labels, query_labels = (rng.integers(0, N_CLASSES, m) for m in (n, n_queries))
    few, few_labels = queries[:N_LOOP_QUERIES], query_labels[:N_LOOP_QUERIES]
    signs, few_signs = as_signs(database), as_signs(few)
    words, few_words = database.view(np.uint64), few.view(np.uint64)

    product_loop = partial(product_average_precision, few_signs, signs, few_labels, labels)
    xor_loop = partial(xor_average_precision, few_words, words, few_labels, labels)
    found = fh.average_precision(few, database, few_labels, labels, ties="database", n_threads=1)
    np.testing.assert_allclose(found, xor_loop(), rtol=1e-9)
    calls = {
        ties: partial(
            fh.average_precision, queries, database, query_labels, labels, ties=ties, n_threads=1
        )
        for ties in ("database", "expected")
    }
    rounds = interleave(calls | {"product": product_loop, "xor": xor_loop}, context.repeats)
    scale = n_queries / N_LOOP_QUERIES
    for ties in calls:
        ratio = rounds.ratio("product", ties).times(scale)
        yield (
            str(n_bits),
            ties,
            f"{rounds.median(ties) / n / n_queries * 1e9:.2f}",
            ratio_cell(ratio),
            context.target(ratio.median, MAP_RATIO, unit="×", why=WHY_MAP[ties]),
            ratio_cell(rounds.ratio("xor", ties).times(scale)),
        )


def _rank(context: Context, n: int, n_bits: int) -> tuple[str, ...]:
    context.progress(f"rank: {n_bits} bits")
    n_queries = 20
    database, queries = make_codes("uniform", n, n_queries, n_bits)
    words = database.view(np.uint64)
    distances = np.stack([xor_distances(query, words) for query in queries.view(np.uint64)])
    calls = {
        "fasthash": partial(fh.rank, queries, database, n_threads=1),
        "numpy": partial(np.argsort, distances, axis=1, kind="stable"),
    }
    np.testing.assert_array_equal(calls["fasthash"](), calls["numpy"]())
    rounds = interleave(calls, context.repeats)
    ratio = rounds.ratio("numpy", "fasthash")
    numpy_ns = rounds.median("numpy") / n / n_queries * 1e9
    why = WHY_RANK.format(then=RANK_NUMPY[n_bits], now=numpy_ns)
    return (
        str(n_bits),
        str(distances.dtype),
        f"{rounds.median('fasthash') / n / n_queries * 1e9:.2f}",
        ratio_cell(ratio),
        context.target(ratio.median, RANK_RATIOS[n_bits], unit="×", why=why),
    )
