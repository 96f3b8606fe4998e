"""Other libraries that search binary codes exactly, once each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import fasthash as fh
import peers
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import interleave
from report import Context, Table, ratio_cell, time_cell

TITLE = "Other peers"

WIDTHS = (64, 256)
K = 10
# The peer and how many of the queries it gets: those that answer in batches need some.
PEERS = {
    "faiss-cpu `IndexBinaryFlat`": (peers.faiss_flat, 64),
    "usearch exact `search`": (peers.usearch_exact, 64),
    "numkong `hammings_packed` + argpartition": (peers.numkong_packed, 64),
    "numpy ±1 matrix product + argpartition": (peers.numpy_gemm, 64),
    "numpy `bitwise_count` + argpartition": (peers.numpy_bitwise_count, 16),
    "scipy `cdist` + argpartition": (peers.scipy_cdist, 8),
    "scikit-learn `NearestNeighbors`, brute": (peers.sklearn_brute, 8),
}


def run(context: Context) -> Iterator[Table]:
    n = 5_000 if context.quick else 100_000
    n_queries = 1000
    rows = []
    for n_bits in WIDTHS:
        database, queries = make_codes("uniform", n, n_queries, n_bits)
        expected = fh.topk(queries, database, K, n_threads=1)
        for name, (make, n_few) in PEERS.items():
            context.progress(f"peers: {name}, {n_bits} bits")
            try:
                search = make(database)
            except peers.MissingPeerError as error:
                rows.append((str(n_bits), name, "–", f"skipped: {error}"))
                continue
            few = queries[:n_few]
            peers.check_same(
                search(few, K),
                tuple(part[:n_few] for part in expected),
                name,
                # The others break ties at will.
                same_ids=make is peers.faiss_flat,
            )
            calls = {
                "peer": partial(search, few, K),
                "fasthash": partial(fh.topk, queries, database, K, n_threads=1),
            }
            rounds = interleave(calls, context.repeats)
            ratio = rounds.ratio("peer", "fasthash").times(n_queries / n_few)
            time = time_cell(rounds.median("peer") / n_few)
            rows.append((str(n_bits), name, time, ratio_cell(ratio)))
    yield Table(
        ("bits", "peer", "time per query", "peer ÷ fasthash"),
        rows,
        f"n = {n:,} uniform codes, k = {K}, one thread each, time per query; fasthash on a batch "
        f"of {n_queries:,}.",
    )
