"""What this machine can do at best: popcount-and-compare without selection, and reading memory.

    python benchmarks/limits.py         distances per second per level and width, bytes per second

limits.c and limits_planes.c are compiled into a temporary folder by the system's C compiler when a
`Limits` is made. Of every loop the probe has several variants; the fastest one on this machine is
the limit. What a variant counts is compared with numpy before its time is believed.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTHS = (64, 128, 256, 512, 1024)

# Codes to a register; tiles of the probe are laid out as those of fasthash's levels.
_LANES = {"scalar": 1, "neon": 2, "avx2": 4, "avx512bw": 4, "avx512": 8}
# Levels that scan tiles as others do.
_TILES_OF = {"avx512bw": "avx2"}
_SIMD = Path(__file__).parents[1] / "fasthash" / "_kernels" / "simd"
# Both fit the first-level cache of anything current; smaller tiles leave more of it to the queries.
_TILE_BYTES = (1 << 14, 1 << 15)
_N_QUERIES = 256
# Words compared in one call of the probe: some hundred microseconds or more.
_CALL_WORDS = 1 << 22
# The readers walk in whole runs of this many 64-bit words.
_READ_STEP = 256
# What one of several threads reads before it asks for more, in 64-bit words.
_READ_PART = 1 << 20

_POINTER = ctypes.c_void_p


class NoCompilerError(RuntimeError):
    """The probe cannot be built on this machine."""


@dataclass(frozen=True)
class Scan:
    """The fastest loop of one level and width, ready to run."""

    level: str
    variant: str
    n_distances: int
    distances_per_second: float
    run: Callable[[], object]

    def lasting(self, seconds: float) -> Scan:
        """The same loop repeated so often that one run takes about this long."""
        repeats = max(1, round(seconds * self.distances_per_second / self.n_distances))

        def run() -> None:
            for _ in range(repeats):
                self.run()

        return replace(self, n_distances=repeats * self.n_distances, run=run)


class Limits:
    """The compiled probe. Make one per process; building it takes a few seconds."""

    def __init__(self) -> None:
        self._library = _build()
        self._readers: dict[int, int] = {}
        self._pool = ThreadPoolExecutor(max(os.cpu_count() or 1, 1))
        self._scans: dict[tuple[str, int], Scan] = {}
        self._kept: list[NDArray[Any]] = []
        self.levels: tuple[str, ...] = tuple(
            level for level in _LANES if self._library.limits_supports(level.encode())
        )

    def scan(self, level: str, n_bits: int) -> Scan:
        """The fastest popcount-and-compare loop; measured at the first call, then remembered."""
        if (level, n_bits) not in self._scans:
            self._scans[level, n_bits] = self._fastest_scan(level, n_bits)
        return self._scans[level, n_bits]

    def _fastest_scan(self, level: str, n_bits: int) -> Scan:
        tiles = _TILES_OF.get(level, level)
        candidates = [
            self._prepare(variant, level, n_bits, tile_bytes)
            for variant in range(self._library.limits_n_scans())
            if self._library.limits_scan_level(variant).decode() == tiles
            and self._library.limits_scan_words(variant) == n_bits // 64
            for tile_bytes in _TILE_BYTES
        ]
        candidates += self._prepare_planes(level, n_bits)
        seconds = _fastest_of([scan.run for scan in candidates])
        best = int(np.argmin([s / c.n_distances for s, c in zip(seconds, candidates, strict=True)]))
        scan = candidates[best]
        return replace(scan, distances_per_second=scan.n_distances / seconds[best])

    def _prepare(self, variant: int, level: str, n_bits: int, tile_bytes: int) -> Scan:
        n_words, lanes = n_bits // 64, _LANES[level]
        n_codes = tile_bytes // (8 * n_words)
        rng = np.random.default_rng(n_bits)
        codes = _aligned((n_codes, n_words))
        codes[:] = rng.integers(0, 1 << 63, codes.shape, np.uint64)
        queries = rng.integers(0, 1 << 63, (_N_QUERIES, n_words), np.uint64)
        tile = _aligned((n_codes // lanes, n_words, lanes))
        tile[:] = codes.reshape(-1, lanes, n_words).transpose(0, 2, 1)

        # The loop knows only their addresses.
        self._kept += [tile, queries]
        tile_address, queries_address = tile.ctypes.data, queries.ctypes.data

        def blocks_with_hit(bound: int, n_queries: int, n_passes: int) -> int:
            return self._library.limits_scan(
                variant, tile_address, n_codes, queries_address, n_queries, bound, n_passes
            )

        nearest = int(np.bitwise_count(codes ^ queries[0]).sum(axis=1).min())
        name = self._library.limits_scan_name(variant).decode()
        if blocks_with_hit(nearest, 1, 1) != 0 or blocks_with_hit(nearest + 1, 1, 1) == 0:
            raise AssertionError(f"the probe's loop {name!r} counts wrong at {n_bits} bits")
        # No distance is below 0, so no block has a hit.
        n_passes = max(1, _CALL_WORDS // (n_codes * n_words * _N_QUERIES))
        n_distances = n_codes * _N_QUERIES * n_passes
        return Scan(level, name, n_distances, 0.0, lambda: blocks_with_hit(0, _N_QUERIES, n_passes))

    def _prepare_planes(self, level: str, n_bits: int) -> list[Scan]:
        """The bit planes of the level, if it has some."""
        n_words, name = n_bits // 64, level.encode()
        n_bytes = ctypes.c_ssize_t()
        n_codes = self._library.limits_plane_codes(name, n_words, ctypes.byref(n_bytes))
        if n_codes == 0:
            return []
        rng = np.random.default_rng(n_bits)
        codes = _aligned((n_codes, n_words))
        codes[:] = rng.integers(0, 1 << 63, codes.shape, np.uint64)
        queries = rng.integers(0, 1 << 63, (_N_QUERIES, n_words), np.uint64)
        laid_out = _aligned((n_bytes.value // 8,))
        choices = _aligned((_N_QUERIES * 8 * n_words,))
        hits = [np.empty(n_codes + 64, np.int32) for _ in range(2)]
        bounds = np.zeros(_N_QUERIES, np.int32)
        self._kept += [codes, queries, laid_out, choices, bounds, *hits]
        at = [array.ctypes.data for array in (codes, laid_out, queries, choices, bounds, *hits)]
        self._library.limits_lay_out(name, at[0], n_codes, n_words, at[1], at[2], _N_QUERIES, at[3])

        def queries_with_hits(n_queries: int, n_passes: int) -> int:
            return self._library.limits_plane_scan(
                name, at[0], at[1], n_codes, *at[2:5], n_queries, n_words, *at[5:], n_passes
            )

        nearest = int(np.bitwise_count(codes ^ queries[0]).sum(axis=1).min())
        for bound, expected in ((nearest, 0), (nearest + 1, 1), (0, 0)):
            bounds[0] = bound
            if queries_with_hits(1, 1) != expected:
                raise AssertionError(f"the probe's bit planes count wrong at {n_bits} bits")
        n_passes = max(1, _CALL_WORDS // (n_codes * n_words * _N_QUERIES))
        n_distances = n_codes * _N_QUERIES * n_passes
        return [
            Scan(
                level,
                "bit planes",
                n_distances,
                0.0,
                lambda: queries_with_hits(_N_QUERIES, n_passes),
            )
        ]

    def read(self, array: NDArray, n_threads: int = 1) -> int:
        """Read an array from end to end with the widest loads; returns the bytes read."""
        words = array.reshape(-1).view(np.uint64)
        if n_threads not in self._readers:
            self._readers[n_threads] = self._fastest_reader(words, n_threads)
        return self._read(self._readers[n_threads], words, n_threads)

    def _read(self, reader: int, words: NDArray[np.uint64], n_threads: int) -> int:
        n_words = len(words) // _READ_STEP * _READ_STEP
        part = n_words if n_threads == 1 else _READ_PART
        first = words.ctypes.data
        parts = [(first + 8 * i, min(part, n_words - i)) for i in range(0, n_words, part)]

        def work() -> None:
            # A thread takes the next part when it is done with one, so none waits for a slow core.
            while parts:
                try:
                    start, length = parts.pop()
                except IndexError:
                    return
                # ctypes releases the interpreter's lock during the call.
                self._library.limits_read(reader, start, length)

        others = [self._pool.submit(work) for _ in range(n_threads - 1)]
        work()
        for other in others:
            other.result()
        return 8 * n_words

    def _fastest_reader(self, words: NDArray[np.uint64], n_threads: int) -> int:
        readers = [
            reader
            for reader in range(self._library.limits_n_readers())
            if self._library.limits_reader_level(reader).decode() == self.levels[-1]
        ]
        calls = [lambda r=reader: self._read(r, words, n_threads) for reader in readers]
        return readers[int(np.argmin(_fastest_of(calls, rounds=5)))]


def _fastest_of(calls: list[Callable[[], object]], rounds: int = 15) -> list[float]:
    """Shortest time of each call, in seconds; round-robin, so that noise falls on all of them."""
    seconds = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start = perf_counter()
            call()
            seconds[i] = min(seconds[i], perf_counter() - start)
    return seconds


def _aligned(shape: tuple[int, ...]) -> NDArray[np.uint64]:
    """Zeros that start on a cache line."""
    n_bytes = 8 * int(np.prod(shape))
    memory = np.zeros(n_bytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n_bytes].view(np.uint64).reshape(shape)


def last_level_cache_bytes() -> int:
    """Size of the largest cache the operating system reports; 0 where it does not."""
    sizes = []
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        sizes.append(int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]])
    return max(sizes, default=0)


def large_buffer() -> NDArray[np.uint64]:
    """Four times the last-level cache, at least 1 GiB, at most a quarter of the free memory."""
    n_bytes = max(4 * last_level_cache_bytes(), 1 << 30)
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        n_bytes = min(n_bytes, max(free // 4, 1 << 28))
    # Written, not zeroed lazily: untouched pages would all be the same one.
    return np.full(n_bytes // 8, 1, np.uint64)


@cache
def compiler_command() -> tuple[str, ...]:
    """The system's C compiler: $CC, or the first of cc, gcc and clang."""
    named = os.environ.get("CC")
    commands = [shlex.split(named)] if named else [["cc"], ["gcc"], ["clang"]]
    for command in commands:
        if shutil.which(command[0]):
            return tuple(command)
    raise NoCompilerError(
        "the probe of the machine's limits needs a C compiler, and there is no "
        f"{' or '.join(command[0] for command in commands)} on the PATH: install one, or name "
        "yours in the environment variable CC"
    )


def _build() -> ctypes.CDLL:
    source = Path(__file__).with_name("limits.c")
    # Windows cannot delete a library that is loaded.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        target = Path(folder, "limits.so")
        flags = ["-O3", "-std=c11", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden"]
        planes = [str(_SIMD / f"{level}_planes.c") for level in ("avx2", "avx512")]
        planes.append(str(source.with_name("limits_planes.c")))
        flags += ["-I", str(_SIMD)]
        command = [*compiler_command(), *flags, "-o", str(target), str(source), *planes]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise NoCompilerError(f"{command[0]} could not build limits.c:\n{result.stderr}")
        library = ctypes.CDLL(str(target))
    library.limits_supports.argtypes = [ctypes.c_char_p]
    for name in ("level", "name"):
        for kind in ("scan", "reader"):
            getattr(library, f"limits_{kind}_{name}").restype = ctypes.c_char_p
    library.limits_scan.restype = ctypes.c_int64
    library.limits_scan.argtypes = [
        ctypes.c_int, _POINTER, ctypes.c_int32, _POINTER, ctypes.c_int32, ctypes.c_int64,
        ctypes.c_int32,
    ]  # fmt: skip
    library.limits_plane_codes.argtypes = [ctypes.c_char_p, ctypes.c_int32, _POINTER]
    library.limits_plane_codes.restype = ctypes.c_int32
    library.limits_lay_out.argtypes = [
        ctypes.c_char_p, _POINTER, ctypes.c_int32, ctypes.c_int32, _POINTER, _POINTER,
        ctypes.c_int32, _POINTER,
    ]  # fmt: skip
    library.limits_lay_out.restype = None
    library.limits_plane_scan.argtypes = [
        ctypes.c_char_p, _POINTER, _POINTER, ctypes.c_int32, _POINTER, _POINTER, _POINTER,
        ctypes.c_int32, ctypes.c_int32, _POINTER, _POINTER, ctypes.c_int32,
    ]  # fmt: skip
    library.limits_plane_scan.restype = ctypes.c_int64
    library.limits_read.restype = ctypes.c_uint64
    library.limits_read.argtypes = [ctypes.c_int, _POINTER, ctypes.c_ssize_t]
    return library


def main() -> None:
    try:
        limits = Limits()
    except NoCompilerError as error:
        sys.exit(str(error))
    print("popcount and compare, 1e9 distances per second, one thread")
    for level in limits.levels:
        for n_bits in WIDTHS:
            scan = limits.scan(level, n_bits)
            rate = scan.distances_per_second / 1e9
            print(f"  {level:8} {n_bits:5} bits {rate:8.2f}   {scan.variant}", flush=True)
    buffer = large_buffer()
    print(f"memory read, 1e9 bytes per second, {buffer.nbytes / 2**30:.2f} GiB")
    for n_threads in range(1, (os.cpu_count() or 1) + 1):
        limits.read(buffer, n_threads)
        seconds = _fastest_of([lambda t=n_threads: limits.read(buffer, t)], rounds=5)[0]
        print(f"  {n_threads} threads {buffer.nbytes / seconds / 1e9:8.2f}", flush=True)


if __name__ == "__main__":
    main()
