"""Whether searches with a recall keep it: over seeds, for queries like the codes and for others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from long_codes import CodeSet, code_sets
from report import Context, Table

TITLE = "The recall that is kept"

MADE = (("made, near", 256), ("made, noisier", 256))
OF_SENTENCES = (("signs", 256),)
K = 10
N_QUERIES = 2000
N_MADE = 200_000
N_SEEDS = 5
RECALLS = (0.9, 0.95, 0.99, 0.999)

# What the mean over unseen queries may fall below the recall asked for.
TOLERANCE = 0.01

# The share of bits that are flipped in shifted queries.
FLIPPED = (0.05, 0.1)


def run(context: Context) -> Iterator[Table]:
    rows: dict[tuple[str, str, str, float], list[float]] = {}
    for seed in range(1 if context.quick else N_SEEDS):
        context.progress(f"recall: seed {seed}")
        for codes in code_sets(context, MADE, N_MADE, OF_SENTENCES, N_QUERIES, seed):
            for key, recall in measured(codes, seed):
                rows.setdefault(key, []).append(recall)
    yield table(context, rows)


def table(context: Context, rows: dict[tuple[str, str, str, float], list[float]]) -> Table:
    """Make the table from the recalls over seeds, by (codes, n, queries, recall asked for)."""
    cells = []
    for (name, n, queries, asked), kept in rows.items():
        spread = f" ({min(kept):.4f}–{max(kept):.4f})" if len(kept) > 1 else ""
        judged = queries == "unseen" or "calibrated" in queries
        cells.append(
            (
                *(name, n, queries, f"{asked:g}", f"{np.mean(kept):.4f}{spread}"),
                context.target(min(kept), at_least=asked - TOLERANCE) if judged else "",
            )
        )
    return Table(
        ("codes", "n", "queries", "asked", "kept: mean (least–most)", "target for the least"),
        cells,
        f"Mean recall@{K} of the exact answer's ids, over {N_QUERIES:,} queries that are not among "
        f"the codes; {N_SEEDS} seeds, each with codes, queries and lists of its own. The index "
        "calibrates itself on its own codes. Shifted queries have random bits flipped, so they lie "
        "farther from all codes than the codes that it calibrated itself on: there the recall is "
        "not promised. “calibrated” is the same after `calibrate(queries=…)` with one half of "
        "these queries, measured on the other half. Searches that the index answers exactly, "
        "because that is faster, have recall 1.",
    )


def measured(codes: CodeSet, seed: int) -> Iterator[tuple[tuple[str, str, str, float], float]]:
    """The recall of each kind of queries, for every recall that is asked for."""
    index = fh.HammingIndex(codes.n_bits)
    index.add(codes.database)
    index.partition(n_threads=1)
    kinds = {"unseen": codes.queries}
    rng = np.random.default_rng(seed)
    for share in FLIPPED:
        kinds[f"{share:.0%} of bits flipped"] = flipped(rng, codes.queries, share, codes.n_bits)
    head = f"{codes.name}, {codes.n_bits} bits", f"{len(codes):,}"
    exact = {kind: search(index, queries) for kind, queries in kinds.items()}
    for kind, queries in kinds.items():
        for asked in RECALLS:
            yield (*head, kind, asked), shared(search(index, queries, asked), exact[kind])
    kind = list(kinds)[-1]
    half = len(codes.queries) // 2
    for asked in RECALLS:
        index.calibrate(recall=asked, k=K, queries=kinds[kind][:half], n_threads=1)
        kept = shared(search(index, kinds[kind][half:], asked), exact[kind][half:])
        yield (*head, f"{kind}, calibrated", asked), kept


def flipped(
    rng: np.random.Generator, codes: NDArray[np.uint8], share: float, n_bits: int
) -> NDArray[np.uint8]:
    return codes ^ np.packbits(rng.random((len(codes), n_bits), np.float32) < share, axis=1)


def search(
    index: fh.HammingIndex, queries: NDArray[np.uint8], recall: float | None = None
) -> NDArray[np.int64]:
    return index.search(queries, K, recall=recall, n_threads=1)[1]


def shared(found: NDArray[np.int64], exact: NDArray[np.int64]) -> float:
    pairs = zip(found, exact, strict=True)
    return float(np.mean([len(np.intersect1d(*pair)) for pair in pairs])) / K
