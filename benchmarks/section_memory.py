"""Peak scratch memory of a top-k, beyond its arguments and its answer, in a process of its own.

python benchmarks/section_memory.py N N_QUERIES N_BITS K      what one such process prints, bytes
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import fasthash as fh
from fasthash.experiments._random_codes import make_codes
from memory import reset_peak, status
from report import Context, Table

TITLE = "Scratch memory of top-k"

WIDTHS = (64, 1024)
KS = (10, 1000, 10_000)
MOST_MIB = 64


def run(context: Context) -> Iterator[Table]:
    n, n_queries = (50_000, 100) if context.quick else (1_000_000, 1000)
    rows = []
    for n_bits in WIDTHS:
        for k in KS:
            context.progress(f"memory: {n_bits} bits, k = {k}")
            command = [sys.executable, __file__, *map(str, (n, n_queries, n_bits, k))]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            if output.strip() == "unknown":
                rows.append((str(n_bits), str(k), "–", "skipped: needs /proc/self/clear_refs"))
                continue
            mebibytes = int(output) / 2**20
            target = context.target(mebibytes, at_most=MOST_MIB, unit=" MiB")
            rows.append((str(n_bits), str(k), f"{mebibytes:.1f} MiB", target))
    yield Table(
        ("bits", "k", "peak beyond arguments and answer", "target per thread"),
        rows,
        f"n = {n:,} uniform codes, {n_queries:,} queries, one thread. The peak resident size is "
        "reset right before the search.",
    )


def scratch_bytes(n: int, n_queries: int, n_bits: int, k: int) -> int | None:
    """None where the operating system cannot say."""
    database, queries = make_codes("uniform", n, n_queries, n_bits)
    # Whatever is loaded or set up once is not scratch.
    fh.topk(queries[:2], database[:1000], 1, n_threads=1)
    before = reset_peak()
    if before is None:
        return None
    answer = fh.topk(queries, database, k, n_threads=1)
    return max(0, status("VmHWM") - before - sum(part.nbytes for part in answer))


if __name__ == "__main__":
    measured = scratch_bytes(*map(int, sys.argv[1:]))
    print("unknown" if measured is None else measured)
