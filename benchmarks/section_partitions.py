"""Search of long codes with a recall: time, build and memory beside faiss's and usearch's indexes.

python benchmarks/section_partitions.py METHOD CODES INDEX      what one such process prints:
                                                                seconds and bytes of a build

Times are those that the processor spent on the thread that searches. A build runs in a process of
its own. With `--data`, the folder keeps the peers' indexes, which take minutes, for the next run.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import run as run_process
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from fasthash.experiments._timing import interleave
from long_codes import CodeSet, code_sets
from memory import status
from peers import MissingPeerError, import_peer
from report import Context, Table, ratio_cell, time_cell

TITLE = "Long codes at a recall"

MADE = (("made, near", 256), ("made, noisier", 256))
OF_SENTENCES = (("ITQ", 256), ("signs", 1024))
N_MADE = 1_000_000
K = 10
N_QUERIES, N_ALONE = 1000, 100
RECALLS = (0.9, 0.95, 0.99, 0.999)
JUDGED = (0.95, 0.99)

# Lists of faiss's IVF. It learns 4,096 centres from all codes by default, which takes it minutes;
# here they are learned from so many, about as many as fasthash takes.
N_LISTS = (1024, 4096)
MOST_TRAINED = 40 * 4096

# Graphs and hashes take minutes; they are built of so many codes at most, of 256 bits.
MOST_IN_GRAPH = 250_000
EFS = (16, 32, 64, 128, 256, 512)
PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

# The parameter of a peer with its recall and its seconds per query, (in a batch, alone).
Point = tuple[int, float, float, float]
Search = Callable[[NDArray[np.uint8]], Any]
Rows = list[tuple[str, ...]]


def run(context: Context) -> Iterator[Table]:
    with tempfile.TemporaryDirectory() as temporary:
        kept = context.data / "built" if context.data else Path(temporary)
        kept.mkdir(exist_ok=True)
        times: Rows = []
        builds: Rows = []
        curves: Rows = []
        for codes in code_sets(context, MADE, N_MADE, OF_SENTENCES, N_QUERIES):
            context.progress(f"partitions: {codes.name}, {codes.n_bits} bits, n = {len(codes):,}")
            measured = _Measured(context, codes, kept)
            times += measured.times()
            builds.append(measured.builds())
            curves += measured.curves()
    yield from tables(times, builds, curves)


def tables(times: Rows, builds: Rows, curves: Rows) -> Iterator[Table]:
    """Make the tables from the rows of all sets of codes."""
    yield Table(
        (
            *("codes", "bits", "n", "10th at", "asked", "kept", "batch", "alone"),
            *("faiss IVF: lists, probed, recall", "its batch", "its alone"),
            *("batch: faiss ÷ fasthash", "target", "alone: faiss ÷ fasthash", "target"),
            *("exact: batch", "alone"),
        ),
        times,
        f"recall@{K}, where an answer counts that is as near as the last one of the exact answer, "
        f"and time per query, of {N_QUERIES:,} queries in a batch and of single ones; "
        "processor time of one thread. “10th at” is the median distance of the exact answer's last "
        "code. “asked” is what `HammingIndex.search` was asked for, “kept” what these queries got, "
        "which the index had not seen. faiss's `IndexBinaryIVF` probes as few lists as bring "
        "*these* queries to the recall asked for, so it is tuned on them; of 1,024 and 4,096 "
        "lists the faster counts, for a batch and for single queries. Its other ways to search are "
        "left out: in 1.15.1 `use_heap = False` finds nothing and `per_invlist_search` crashes.",
    )
    yield Table(
        (
            *("codes", "bits", "n", "fasthash: lists, build", "calibration to .95 / .99"),
            *("faiss ÷ fasthash, 1,024 lists", "target", "4,096 lists", "target"),
            *("memory ÷ (codes and ids): fasthash", "target", "faiss"),
        ),
        builds,
        "Build times are processor time of one thread, once, in a process of its own; the first is "
        "that of the default number of lists, the ratios are at equal numbers of lists. Memory is "
        "what such a process keeps after the build beyond the codes it was given; ids have 8 "
        f"bytes. faiss learns 4,096 centres from "
        f"{MOST_TRAINED:,} codes here; by default it takes all of a million, which takes longer. "
        "The last column is faiss's with 4,096 lists.",
    )
    yield Table(
        ("codes", "bits", "n", "method", "build", "memory", "recall: time in a batch / alone"),
        curves,
        "Every method's recall and µs per query. The parameters: recall asked of fasthash; 1, 2, 4 "
        "… lists probed by faiss's IVF; efSearch of 16, 32, 64 … of the graphs (M = 16); bits "
        "flipped by faiss's `IndexBinaryMultiHash` (16 tables of 16 bits).",
    )


class _Measured:
    """The methods over one set of codes."""

    def __init__(self, context: Context, codes: CodeSet, kept: Path) -> None:
        self.context, self.codes, self.kept = context, codes, kept
        self.head = codes.name, str(codes.n_bits), f"{len(codes):,}"
        self.queries = codes.queries[:N_QUERIES]
        self.alone = self.queries[:N_ALONE]
        self.file = kept / f"{codes.key}.npy"
        np.save(self.file, codes.database)
        self.index = fh.HammingIndex(codes.n_bits)
        self.index.add(codes.database)
        self.exact, _ = self.index.search(self.queries, K, n_threads=1)
        self.index.partition(n_threads=1)
        self.calibration_seconds = {}
        for recall in RECALLS:
            start = time.process_time()
            self.index.calibrate(recall=recall, k=K, n_threads=1)
            self.calibration_seconds[recall] = time.process_time() - start
        self.faiss = _import("faiss")
        if self.faiss:
            self.faiss.omp_set_num_threads(1)
        self.points: dict[str, list[Point]] = {}
        self.ivf = {}
        for n_lists in N_LISTS if self.faiss else ():
            self.ivf[n_lists], _ = self._read(f"ivf-{n_lists}")
            self.points[f"ivf-{n_lists}"] = self._sweep_ivf(n_lists)

    def times(self) -> Iterator[tuple[str, ...]]:
        for recall in RECALLS:
            yield self._times(recall)

    def _times(self, recall: float) -> tuple[str, ...]:
        self.context.progress(f"  recall {recall}")
        ours = partial(self.index.search, k=K, recall=recall, n_threads=1)
        exact = partial(self.index.search, k=K, n_threads=1)
        kept = self._recall(ours(self.queries)[0])
        calls = _both("ours", ours, self.queries, self.alone)
        few = max(10, N_QUERIES // 10)
        calls |= _both("exact", exact, self.queries[:few], self.alone[:10])
        best = self._best_ivf(recall)
        label = "–"
        if best is not None:
            n_lists, n_probes, found, search, search_alone = best
            label = f"{n_lists:,}, {n_probes}, {_share(found)}"
            calls["faiss batch"] = lambda: search(self.queries)
            calls["faiss alone"] = lambda: [
                search_alone(self.alone[q : q + 1]) for q in range(N_ALONE)
            ]
        rounds = interleave(calls, self.context.repeats, time.thread_time)
        seconds = {
            "ours batch": rounds.median("ours batch") / N_QUERIES,
            "ours alone": rounds.median("ours alone") / N_ALONE,
            "exact batch": rounds.median("exact batch") / few,
            "exact alone": rounds.median("exact alone") / 10,
        }
        self.points.setdefault("ours", []).append(
            (0, kept, seconds["ours batch"], seconds["ours alone"])
        )
        self.exact_seconds = seconds["exact batch"], seconds["exact alone"]
        batch = alone = None
        theirs = ("–", "–")
        if best is not None:
            batch = rounds.ratio("faiss batch", "ours batch")
            alone = rounds.ratio("faiss alone", "ours alone")
            theirs = (
                time_cell(rounds.median("faiss batch") / N_QUERIES),
                time_cell(rounds.median("faiss alone") / N_ALONE),
            )
        target = partial(self.context.target, unit="×")
        judged = recall in JUDGED
        return (
            *self.head,
            f"{np.median(self.exact[:, -1]):.0f}",
            _share(recall),
            _share(kept),
            time_cell(seconds["ours batch"]),
            time_cell(seconds["ours alone"]),
            label,
            *theirs,
            ratio_cell(batch),
            target(batch and batch.median, at_least=2 if judged else None),
            ratio_cell(alone),
            target(alone and alone.median, at_least=1 if judged else None),
            time_cell(seconds["exact batch"]),
            time_cell(seconds["exact alone"]),
        )

    def _best_ivf(self, recall: float) -> tuple[int, int, float, Search, Search] | None:
        """(lists, probed, recall, batch search, single search) of faiss's fastest with a recall."""
        choices: list[tuple[Any, ...]] = []
        for n_lists, index in self.ivf.items():
            n_probes = self._fewest_probes(n_lists, recall)
            if n_probes is None:
                continue
            search = partial(_search_ivf, index, n_probes)
            seconds = min(_timed(search, self.queries) for _ in range(3))
            alone = min(_timed_alone(search, self.alone) for _ in range(3))
            found = self._recall(search(self.queries)[0])
            choices.append((seconds, alone, n_lists, n_probes, found, search))
        if not choices:
            return None
        _, _, n_lists, n_probes, found, search = min(choices)
        return n_lists, n_probes, found, search, min(choices, key=lambda choice: choice[1])[-1]

    def _fewest_probes(self, n_lists: int, recall: float) -> int | None:
        low, high = 0, None
        for n_probes, found, *_ in self.points[f"ivf-{n_lists}"]:
            if found >= recall:
                high = n_probes
                break
            low = n_probes
        if high is None:
            return None
        index = self.ivf[n_lists]
        while high - low > 1:
            middle = (low + high) // 2
            found = self._recall(_search_ivf(index, middle, self.queries)[0])
            low, high = (low, middle) if found >= recall else (middle, high)
        return high

    def _sweep_ivf(self, n_lists: int) -> list[Point]:
        points: list[Point] = []
        for n_probes in PROBES:
            search = partial(_search_ivf, self.ivf[n_lists], n_probes)
            points.append(self._point(n_probes, search))
            if points[-1][1] >= max(RECALLS):
                break
        return points

    def _point(self, parameter: int, search: Search) -> Point:
        found = self._recall(np.asarray(search(self.queries)[0]))
        return (
            parameter,
            found,
            min(_timed(search, self.queries) for _ in range(2)) / len(self.queries),
            min(_timed_alone(search, self.alone[:50]) for _ in range(2)) / 50,
        )

    def builds(self) -> tuple[str, ...]:
        seconds, ours_bytes = self._built("ours-default")
        n_lists = len(self.index._partitioning._centres)
        cells, faiss_bytes = [], None
        for n in N_LISTS:
            ratio = None
            if self.faiss:
                theirs, faiss_bytes = self._built(f"ivf-{n}")
                ratio = theirs / self._built(f"ours-{n}")[0]
            cells += [
                "–" if ratio is None else f"{ratio:.1f}×",
                self.context.target(ratio, at_least=5, unit="×"),
            ]
        held = len(self.codes) * (self.codes.n_bits // 8 + 8)
        calibrations = [f"{self.calibration_seconds[recall]:.1f}" for recall in JUDGED]
        return (
            *self.head,
            f"{n_lists:,}, {time_cell(seconds)}",
            " / ".join(calibrations) + " s",
            *cells,
            f"{ours_bytes / held:.2f}",
            self.context.target(ours_bytes / held, at_most=1.25, unit="×"),
            "–" if faiss_bytes is None else f"{faiss_bytes / held:.2f}",
        )

    def curves(self) -> Iterator[tuple[str, ...]]:
        seconds, n_bytes = self._built("ours-default")
        exact = (0, 1.0, *self.exact_seconds)
        yield self._curve("fasthash, exact", None, None, [exact])
        yield self._curve("fasthash", seconds, n_bytes, self.points["ours"])
        for n_lists in self.ivf:
            seconds, n_bytes = self._built(f"ivf-{n_lists}")
            name = f"faiss IVF, {n_lists:,} lists"
            yield self._curve(name, seconds, n_bytes, self.points[f"ivf-{n_lists}"])
        if len(self.codes) > MOST_IN_GRAPH or self.codes.n_bits > 256:
            return
        for method, name in OTHERS.items():
            self.context.progress(f"  {name}")
            try:
                index, search_with = self._read(method)
            except MissingPeerError as error:
                yield *self.head, name, "–", "–", str(error)
                continue
            parameters = (0, 1, 2) if method == "multi-hash" else EFS
            points = [self._point(p, partial(search_with, index, p)) for p in parameters]
            yield self._curve(name, *self._built(method), points)

    def _curve(
        self, name: str, seconds: float | None, n_bytes: int | None, points: list[Point]
    ) -> tuple[str, ...]:
        text = " · ".join(
            f"{_share(recall)}: {1e6 * batch:.3g} / {1e6 * alone:.3g}"
            for _, recall, batch, alone in points
        )
        return (
            *self.head,
            name,
            "–" if seconds is None else time_cell(seconds),
            "–" if n_bytes is None else f"{n_bytes / 2**20:.0f} MiB",
            text,
        )

    def _recall(self, distances: NDArray[Any]) -> float:
        """The share of answers that are as near as the last of the exact answer."""
        return float(((distances >= 0) & (distances <= self.exact[:, -1:])).mean())

    def _built(self, method: str) -> tuple[float, int]:
        """(seconds, bytes) of a build in a process of its own, which is done once."""
        file = self.kept / f"{self.codes.key}-{method}.txt"
        if not file.exists():
            self.context.progress(f"  building {method}")
            command = [sys.executable, __file__, method, str(self.file), str(file.with_suffix(""))]
            done = run_process(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr)
            file.write_text(done.stdout)
        seconds, n_bytes = file.read_text().split()
        return float(seconds), int(n_bytes)

    def _read(self, method: str) -> tuple[Any, Any]:
        """The index of a peer, and the function that searches with a parameter."""
        import_peer(MODULES[method.split("-")[0]])
        self._built(method)
        path = str(self.kept / f"{self.codes.key}-{method}")
        if method == "usearch-hnsw":
            index = import_peer("usearch.index").index.Index.restore(path)
            return index, _search_usearch
        index = self.faiss.read_index_binary(path)
        return index, {"hnsw": _search_hnsw, "multi-hash": _search_hash}.get(method)


OTHERS = {
    "hnsw": "faiss HNSW",
    "usearch-hnsw": "usearch HNSW",
    "multi-hash": "faiss MultiHash",
}
MODULES = {"ivf": "faiss", "hnsw": "faiss", "multi": "faiss", "usearch": "usearch.index"}


def _search_ivf(index: Any, n_probes: int, queries: NDArray[np.uint8]) -> Any:
    index.nprobe = n_probes
    return index.search(queries, K)


def _search_hnsw(index: Any, ef: int, queries: NDArray[np.uint8]) -> Any:
    index.hnsw.efSearch = ef
    return index.search(queries, K)


def _search_hash(index: Any, n_flips: int, queries: NDArray[np.uint8]) -> Any:
    index.nflip = n_flips
    return index.search(queries, K)


def _search_usearch(index: Any, ef: int, queries: NDArray[np.uint8]) -> Any:
    index.expansion_search = ef
    found = index.search(queries, K, threads=1)
    return np.reshape(found.distances, (len(queries), K)), found.keys


def _both(
    name: str, search: Search, queries: NDArray[np.uint8], alone: NDArray[np.uint8]
) -> dict[str, Callable[[], object]]:
    return {
        f"{name} batch": lambda: search(queries),
        f"{name} alone": lambda: [search(alone[q : q + 1]) for q in range(len(alone))],
    }


def _timed(search: Search, queries: NDArray[np.uint8]) -> float:
    start = time.thread_time()
    search(queries)
    return time.thread_time() - start


def _timed_alone(search: Search, queries: NDArray[np.uint8]) -> float:
    start = time.thread_time()
    for q in range(len(queries)):
        search(queries[q : q + 1])
    return time.thread_time() - start


def _share(recall: float) -> str:
    return f"{recall:.3f}"


def _import(name: str) -> Any:
    try:
        return import_peer(name)
    except MissingPeerError:
        return None


def _build(method: str, codes: NDArray[np.uint8], file: str) -> tuple[float, int]:
    """Build an index and write that of a peer to a file; seconds, and bytes that it takes."""
    n, n_bits = len(codes), 8 * codes.shape[1]
    name, _, number = method.rpartition("-")
    faiss = None if name in ("ours", "usearch") else import_peer("faiss")
    if faiss:
        faiss.omp_set_num_threads(1)
    else:
        usearch = import_peer("usearch.index").index if name == "usearch" else None
    # Before the first measurement, because it imports what the name belongs to, as above.
    index = fh.HammingIndex(n_bits)
    before = _resident()
    start = time.process_time()
    if name == "ours":
        index.add(codes)
        n_lists = int(number) if number.isdigit() else None
        index.partition(n_lists=n_lists, n_threads=1)
    elif name == "usearch":
        index = usearch.Index(ndim=n_bits, metric="hamming", dtype="b1", connectivity=16)
        index.add(np.arange(n), codes, threads=1)
    elif name == "ivf":
        quantiser = faiss.IndexBinaryFlat(n_bits)
        index = faiss.IndexBinaryIVF(quantiser, n_bits, int(number))
        index.train(codes if int(number) < 4096 else codes[:MOST_TRAINED])
        index.add(codes)
    else:
        hashes = faiss.IndexBinaryMultiHash(n_bits, 16, 16) if method == "multi-hash" else None
        index = hashes or faiss.IndexBinaryHNSW(n_bits, 16)
        index.add(codes)
    seconds = time.process_time() - start
    n_bytes = _resident() - before
    if faiss:
        faiss.write_index_binary(index, file)
    elif usearch:
        index.save(file)
    return seconds, n_bytes


def _resident() -> int:
    """Bytes of memory in use; what is free is given back to the system before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return status("VmRSS")


if __name__ == "__main__":
    method, codes, file = sys.argv[1:]
    print(*_build(method, np.load(codes), file))
