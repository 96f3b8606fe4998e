"""What several test modules share: code widths that walk the tails, and random packed codes."""

import contextlib

import numpy as np
from hypothesis import strategies as st

from fasthash._kernels import tiles as kernels

# Around every boundary a kernel can have: bit, byte, word, register, and widths that fill none.
WIDTHS = [1, 7, 8, 9, 16, 63, 64, 65, 127, 128, 129, 256, 512, 1000, 1024]


@st.composite
def search_problems(draw, max_queries=4, max_codes=40):
    """(queries, database, n_bits) with many ties: codes differ from a few centres in few bits."""
    n_bits = draw(st.sampled_from(WIDTHS))
    n_queries = draw(st.integers(0, max_queries))
    n = draw(st.integers(0, max_codes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centres = rng.random((draw(st.integers(1, 3)), n_bits)) < 0.5
    flip = draw(st.sampled_from([0.0, 0.05, 0.5]))
    bits = centres[rng.integers(0, len(centres), n_queries + n)]
    codes = np.packbits(bits ^ (rng.random(bits.shape) < flip), axis=1)
    return codes[:n_queries], codes[n_queries:], n_bits


_N_BITS_SET = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)


def all_distances(queries, database):
    """Hamming distances by numpy: for sizes that the slow twins cannot reach."""
    distances = np.empty((len(queries), len(database)), np.int32)
    for query, row in zip(queries, distances, strict=True):
        row[:] = _N_BITS_SET[query ^ database].sum(axis=1, dtype=np.int32)
    return distances


def random_codes(n, n_bits, seed=0):
    """n uniform packed codes."""
    codes = np.random.default_rng(seed).integers(0, 256, (n, -(-n_bits // 8)), np.uint8)
    # Padding bits are zero.
    codes[:, -1] &= 0xFF << (-n_bits % 8) & 0xFF
    return codes


@contextlib.contextmanager
def simd(level):
    """Run the kernels at another instruction-set level for a while."""
    before = kernels.level_in_use()
    kernels.use_level(level)
    try:
        yield
    finally:
        kernels.use_level(before)
