"""Random codes to search: uniform codes, and clustered codes, which resemble learned codes.

A clustered code is a copy of a random centre in which each bit is flipped with probability 1/8. The
order of the codes is independent of the clusters. Queries are made from the same centres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KINDS = ("uniform", "clustered")

_N_CENTRES = 1000


def make_codes(
    kind: str, n: int, n_queries: int, n_bits: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return packed codes (database, queries), which are the same for the same arguments."""
    rng = np.random.default_rng([n_bits, n, KINDS.index(kind)])
    n_bytes = -(-n_bits // 8)
    if kind == "uniform":
        made = [_random(rng, m, n_bytes) for m in (n, n_queries)]
    else:
        centres = _random(rng, _N_CENTRES, n_bytes)
        made = [_around(rng, centres, m) for m in (n, n_queries)]
    if n_bits % 8:
        for codes in made:
            codes[:, -1] &= 0xFF << (-n_bits % 8) & 0xFF
    return made[0], made[1]


def _random(rng: np.random.Generator, n: int, n_bytes: int) -> NDArray[np.uint8]:
    words = rng.integers(0, 1 << 64, -(-n * n_bytes // 8), np.uint64)
    return words.view(np.uint8)[: n * n_bytes].reshape(n, n_bytes)


def _around(rng: np.random.Generator, centres: NDArray[np.uint8], n: int) -> NDArray[np.uint8]:
    shape = (n, centres.shape[1])
    # A bit is flipped if three random bits are all 1, which has probability 1/8.
    flipped = _random(rng, *shape) & _random(rng, *shape) & _random(rng, *shape)
    return centres[rng.integers(0, len(centres), n)] ^ flipped
