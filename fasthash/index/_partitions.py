"""`Partitions`: codes in the lists of their nearest centres, and the search in some of the lists.

Centres are learned as k-means learns them, with the majority of bits in the place of the mean:

1. A sample of the codes is drawn, and some of it become the first centres. It is large, because
   the majority of a few codes that are far from each other is mostly chance.
2. Each code of the sample is assigned to its nearest centre, of equally near ones to the first.
   Then a bit of a centre becomes the one that more of its codes have. If both are equally
   frequent, the bit stays as it was. This is repeated a few times. In the first rounds, centres
   that hardly matter, because their codes have another centre nearly as near, jump into lists with
   large distances: each becomes the farthest code of such a list. Otherwise groups of codes stay
   together in one list while others are divided among several.
3. All codes are assigned. Lists that are too long are cut: they get centres of their own, learned
   of their own codes; what is still too long, because its codes are equal, is cut into lists with
   the same centre. Lists without codes are dropped.

Nothing depends on the number of threads. The codes are then stored list by list, with the row of
each. Those of a memory-mapped file stay where they are: a search gathers them from all over the
file, which takes about as long as everything else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.allowed import Allowed
from .._core.interruptible import in_helper_thread
from .._core.pieces import Pace, cut
from .._core.scan import pad, scan_distances, scan_topk
from .._core.stored_codes import StoredCodes
from .._kernels.partitions import Lists, find_majority, find_nearest
from ._snapshot import SortedCodes

__all__ = [
    "MAX_CHOSEN_LISTS",
    "MAX_ROWS",
    "ROUNDS",
    "WEIGHT_UNIT",
    "Partitions",
    "Queries",
    "Rule",
    "default_n_lists",
    "sample_size",
]

# Codes, of dtype uint8, or rounded weights, of dtype int16, `8 n_bytes` for each query.
Queries = NDArray[Any]

# The largest distance of a query with weights, in the unit of a `Rule`; 1 << WEIGHT_UNIT_BITS in
# list_search.pyx.
WEIGHT_UNIT = 1 << 16

# Rows are uint32 in the lists, and lists are numbered in uint16 while they are made.
MAX_ROWS = 2**32 - 1
MAX_LISTS = 2**16 - 1
# Lists that a caller may ask for; long ones are cut, so there may be more in the end.
MAX_CHOSEN_LISTS = MAX_LISTS // 2

# The sample is this share of the codes, but so many codes for each list at least and at most.
_SAMPLED_SHARE = 0.2
_FEWEST_SAMPLED, _MOST_SAMPLED = 48, 256

# How often the centres are moved.
ROUNDS = 10

# Of so many codes or more, an estimate says whether other numbers of lists would be better: by so
# many queries among at most so many codes, and the share of their answers that are found. Centres
# are learned again if there should be _LEAST_GROWTH times as many, and there are at most
# _MOST_GROWTH times as many.
_FEWEST_TRIED = 1 << 16
_TRIED_QUERIES = 256
_MOST_TRIED = 1 << 20
_TRIED_SHARE = 0.9
_LEAST_GROWTH, _MOST_GROWTH = 2, 4

# In these rounds, at most this share of the centres jumps. Dividing a list in two is taken to save
# this share of its sum of distances.
_ROUNDS_WITH_JUMPS = 6
_JUMPING_SHARE = 0.15
_GAINED_SHARE = 0.05

# No list is longer than this many times the mean.
_LONGEST = 4

# Words of 64 bits that the first call compares, a tenth of a second, so that an interrupt is
# handled soon. The more queries share a call, the fewer codes are gathered for each.
_FIRST_WORDS = 1 << 28

# Codes that are assigned at a time.
_ASSIGNED_ROWS = 1 << 17


def default_n_lists(n: int) -> int:
    """
    The number of lists for n codes: the square root of twice that number.

    A query is compared with all centres, and with the codes of a few lists.
    """
    return max(1, min(MAX_CHOSEN_LISTS, n, round(math.sqrt(2 * n))))


def sample_size(n: int, n_lists: int) -> int:
    """The number of the n codes from which centres are learned, in `ROUNDS` rounds."""
    per_list = min(max(_FEWEST_SAMPLED, int(_SAMPLED_SHARE * n / n_lists)), _MOST_SAMPLED)
    return min(n, n_lists * per_list)


@dataclass(frozen=True)
class Rule:
    """
    Which lists a query probes, in the order of the distances of their centres.

    Distances of queries with weights are given as shares of the largest distance of the query,
    times `WEIGHT_UNIT`.

    Attributes
    ----------
    least : int
        Lists that are always probed.
    most : int
        Lists that may be probed.
    from_nearest : bool
        Whether the distance of a centre counts from that of the nearest centre.
    slope, threshold : int
        A list is probed if four times this distance is at most ``threshold + slope * d``, where d
        is the distance of the k-th candidate after the first lists. With fewer than k candidates,
        all lists are.
    bound : int
        The first lists of nearly all queries have k codes nearer than this. It only saves time: a
        query whose lists have fewer is searched again without it. By default there is no bound.
    """

    least: int
    most: int
    from_nearest: bool
    slope: int
    threshold: int
    bound: int = 2**31 - 1


class Partitions:
    """
    Lists of codes, made at once or read from a file.

    Parameters
    ----------
    base : SortedCodes
        At least one code. They are stored in the order of `rows` from now on, unless they are
        memory-mapped.
    centres : ndarray of uint8, shape (n_lists, n_bytes)
    starts : ndarray of int64, shape (n_lists + 1,)
        Where each list begins in `rows`.
    rows : ndarray of uint32, shape (n,)
        Row numbers, ascending within a list.
    """

    def __init__(
        self,
        base: SortedCodes,
        centres: NDArray[np.uint8],
        starts: NDArray[np.int64],
        rows: NDArray[np.uint32],
    ) -> None:
        self.centres, self.starts, self.rows = centres, starts, rows
        in_order = base.source is None
        codes = base.lay_out(rows) if in_order else base.stored.layout.codes
        self._lists = Lists(codes, centres, starts, rows, in_order)
        n_words = -(-centres.shape[1] // 8)
        self._n_codes, self._words_of_centres = len(rows), len(centres) * n_words
        self._words_of_list = n_words * len(rows) // len(centres)

    @classmethod
    def learn(cls, base: SortedCodes, n_lists: int | None, n_threads: int) -> Partitions:
        """Learn about n_lists centres, at most the number of codes, and make their lists."""
        n = len(base)
        centres = _learn_centres(base.stored, n_lists or default_n_lists(n), n_threads)
        if n_lists is None and n >= _FEWEST_TRIED:
            wanted = _wanted_lists(base.stored, centres, n_threads)
            if wanted >= _LEAST_GROWTH * len(centres):
                centres = _learn_centres(base.stored, wanted, n_threads)
        return cls.around(base, centres, n_threads)

    @classmethod
    def around(cls, base: SortedCodes, centres: NDArray[np.uint8], n_threads: int) -> Partitions:
        """Make the lists of centres; some are added where lists are too long, some dropped."""
        lists = _assign(base.stored, centres, n_threads)
        lists, centres = _cut_long_lists(base.stored, lists, centres, n_threads)
        starts, rows = _sorted_rows(lists, len(centres))
        kept = np.flatnonzero(np.diff(starts))
        starts = np.append(starts[kept], len(base))
        return cls(base, np.ascontiguousarray(centres[kept]), starts, rows)

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def nbytes(self) -> int:
        """Bytes of lists, rows and centres, without the codes."""
        return self.centres.nbytes + self.starts.nbytes + self.rows.nbytes

    def lists_of_rows(self) -> NDArray[np.uint16]:
        """The list of each row."""
        lists = np.empty(len(self.rows), np.uint16)
        lists[self.rows] = np.repeat(np.arange(len(self), dtype=np.uint16), np.diff(self.starts))
        return lists

    def topk(
        self,
        queries: Queries,
        k: int,
        rule: Rule,
        n_threads: int,
        allowed: Allowed | None = None,
        n_compared: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], int]:
        """
        Find the k nearest codes in the lists that the rule chooses.

        `n_compared` gets the number of codes with which each query was compared, without the
        centres.

        Returns
        -------
        distances : ndarray of int32, shape (n_queries, k)
            As `scan.scan_topk` gives them.
        rows : ndarray of int64, shape (n_queries, k)
        n_short : int
            Number of queries with fewer than k answers.
        """
        n_queries, n_found, flags = len(queries), k, None
        if k > self._n_codes:
            n_found = self._n_codes
        if allowed is not None and not allowed.is_everything:
            flags = allowed.flags.view(np.uint8)
        per_query = self._words_of_centres + rule.most * self._words_of_list
        if 0 < n_queries * per_query <= _FIRST_WORDS:
            # Without slices, which take as long as the comparison of hundreds of codes.
            answer = self._search(queries, n_compared, flags, n_found, rule, n_threads)
        else:
            distances = np.empty((n_queries, n_found), np.int32)
            rows = np.empty((n_queries, n_found), np.int64)
            n_short = 0
            for q in Pace(_FIRST_WORDS // per_query).cut(n_queries):
                counts = None if n_compared is None else n_compared[q]
                found = self._search(queries[q], counts, flags, n_found, rule, n_threads)
                distances[q], rows[q], n_short = found[0], found[1], n_short + found[2]
            answer = distances, rows, n_short
        return answer if n_found == k else (*pad(answer[0], answer[1], k), n_queries)

    def _search(
        self,
        queries: Queries,
        n_compared: NDArray[np.int64] | None,
        flags: NDArray[np.uint8] | None,
        k: int,
        rule: Rule,
        n_threads: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], int]:
        return self._lists.search(
            queries,
            queries.dtype.kind == "i",
            n_compared,
            flags,
            k,
            rule.least,
            rule.most,
            rule.from_nearest,
            rule.slope,
            rule.threshold,
            rule.bound,
            n_threads,
        )


def _wanted_lists(codes: StoredCodes, centres: NDArray[np.uint8], n_threads: int) -> int:
    """
    The number of lists with which a query compares about as many centres as codes.

    It is estimated with a sample of a fifth of the codes, in which some search their nearest two.
    In all codes, about ten are as near, and more where the sample is smaller. A query probes so
    many lists that `_TRIED_SHARE` of these answers are found; with more lists, so many lists have
    fewer codes.
    """
    n, n_lists = len(codes), len(centres)
    sample = codes.at(_spread(n, min(n // 5, _MOST_TRIED)))
    queries = sample[_spread(len(sample), _TRIED_QUERIES)]
    # The first answer is the query itself, or equal to it.
    answers = sample[scan_topk(queries, sample, 3, n_threads)[1][:, 1:].ravel()]
    far = np.empty((len(queries), n_lists), np.int32)
    scan_distances(queries, centres, far, n_threads)
    lists = _nearest(answers, centres, 1, n_threads)[1].reshape(len(queries), 2)
    reach = np.take_along_axis(far, lists, axis=1)
    n_nearer = (far[:, None] < reach[:, :, None]).sum(axis=2)
    n_probed = 1 + float(np.quantile(n_nearer, _TRIED_SHARE))
    if n_probed > n_lists / 2:
        # Lists are of no use for such codes.
        return n_lists
    # Centres count twice: a query with weights is compared with all of them twice.
    factor = math.sqrt(n_probed * n / n_lists / (2 * n_lists))
    return min(MAX_CHOSEN_LISTS, n, round(n_lists * min(factor, _MOST_GROWTH)))


def _learn_centres(codes: StoredCodes, n_lists: int, n_threads: int) -> NDArray[np.uint8]:
    n, rng = len(codes), np.random.default_rng(0)
    n_sampled = sample_size(n, n_lists)
    # Any rows; sorted, so that the codes are read in order.
    sampled = np.arange(n) if n_sampled == n else np.sort(rng.choice(n, n_sampled, False))
    sample = codes.at(sampled)
    first = np.sort(rng.choice(n_sampled, min(n_lists, n_sampled), False))
    centres = sample[first]
    n = len(centres)
    found = None
    for number in range(ROUNDS):
        nearest, found = _nearest(sample, centres, min(n, 2), n_threads, found)
        lists, distances = found[:, 0].astype(np.uint16), nearest[:, 0]
        starts, rows = _sorted_rows(lists, n)
        moved = np.empty_like(centres)
        find_majority(sample, starts, rows, centres, moved, n_threads)
        if n > 1 and number < _ROUNDS_WITH_JUMPS:
            # What the sum of distances would gain if a centre were removed: the codes of its list
            # would go to their second nearest centre.
            losses: NDArray[Any] = np.bincount(lists, nearest[:, 1] - distances, n)
            _jump(sample, moved, losses, distances, starts, rows)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _nearest(
    codes: NDArray[np.uint8],
    centres: NDArray[np.uint8],
    n_nearest: int,
    n_threads: int,
    guesses: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """
    Distances and numbers of the nearest centres of each code, by (distance, number).

    With guesses, an earlier answer for the same codes, this is faster.
    """
    distances = np.empty((len(codes), n_nearest), np.int32)
    found = np.empty(distances.shape, np.int64) if guesses is None else guesses.copy()
    words = len(centres) * -(-codes.shape[1] // 8)
    for some in Pace(max(1, _FIRST_WORDS // words)).cut(len(codes)):
        out = distances[some], found[some]
        find_nearest(codes[some], centres, *out, guesses is not None, n_threads)
    return distances, found


def _jump(
    sample: NDArray[np.uint8],
    centres: NDArray[np.uint8],
    losses: NDArray[Any],
    distances: NDArray[np.int32],
    starts: NDArray[np.int64],
    rows: NDArray[np.uint32],
) -> None:
    """Move centres that hardly matter into lists whose codes are far from their centre."""
    sums = np.add.reduceat(np.append(distances[rows], 0), starts[:-1])
    sums[starts[1:] == starts[:-1]] = 0
    superfluous = np.argsort(losses, kind="stable")[: int(_JUMPING_SHARE * len(centres))]
    wide = np.argsort(-sums, kind="stable")
    wide = wide[~np.isin(wide, superfluous)]
    for centre, other in zip(superfluous, wide, strict=False):
        if sums[other] * _GAINED_SHARE <= losses[centre]:
            break
        some = rows[starts[other] : starts[other + 1]]
        centres[centre] = sample[some[np.argmax(distances[some])]]


def _assign(codes: StoredCodes, centres: NDArray[np.uint8], n_threads: int) -> NDArray[np.uint16]:
    """The nearest centre of each code, of equally near ones the first."""
    lists = np.empty(len(codes), np.uint16)
    for some in cut(len(codes), most=_ASSIGNED_ROWS):
        lists[some] = _nearest(codes.block(some), centres, 1, n_threads)[1][:, 0]
    return lists


def _sorted_rows(
    lists: NDArray[np.uint16], n_lists: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """(starts, rows): rows sorted by list, ascending within a list."""
    # Stable, and for 16 bits a radix sort.
    rows = in_helper_thread(len(lists), lambda: np.argsort(lists, kind="stable").astype(np.uint32))
    starts = np.zeros(n_lists + 1, np.int64)
    np.cumsum(np.bincount(lists, minlength=n_lists), out=starts[1:])
    return starts, rows


def _cut_long_lists(
    codes: StoredCodes,
    lists: NDArray[np.uint16],
    centres: NDArray[np.uint8],
    n_threads: int,
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Cut lists that are too long; new lists are numbered behind the others."""
    longest = max(1, _LONGEST * len(codes) // len(centres))
    added = [centres]
    n_lists = len(centres)
    for number in np.flatnonzero(np.bincount(lists, minlength=n_lists) > longest):
        rows = np.flatnonzero(lists == number)
        n_parts = -(-len(rows) * _LONGEST // longest)
        some = codes.at(rows)
        # Not all codes of a long list, because the majority takes long and cannot be interrupted.
        sample = some[_spread(len(some), max(n_parts, _ASSIGNED_ROWS))]
        own = sample[_spread(len(sample), n_parts)]
        parts = _assign(StoredCodes(sample), own, n_threads)
        starts, order = _sorted_rows(parts, n_parts)
        moved = np.empty_like(own)
        find_majority(sample, starts, order, own, moved, n_threads)
        parts = _assign(StoredCodes(some), moved, n_threads)
        starts, order = _sorted_rows(parts, n_parts)
        # Equal codes have one centre: what is still too long is cut as it lies.
        parts = parts[order]
        piece = (np.arange(len(rows)) - starts[parts]) // longest
        is_first = np.ones(len(rows), bool)
        is_first[1:] = (parts[1:] != parts[:-1]) | (piece[1:] != piece[:-1])
        n_pieces = int(np.count_nonzero(is_first))
        if n_lists + n_pieces > MAX_LISTS:
            break
        lists[rows[order]] = n_lists - 1 + np.cumsum(is_first)
        added.append(moved[parts[is_first]])
        n_lists += n_pieces
    return lists, np.concatenate(added)


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """At most so many of n places, evenly spread."""
    m = min(n, most)
    return np.arange(m) * n // m
