"""Arguments that C callers may pass, right and wrong, and the errors that they must get.

Small arguments lie in fenced memory, so that reading or writing past them ends the test.
"""

import numpy as np
from c_functions import COUNT, NULL, OK, POLL, STRIDE, THREADS, WIDTH, Fence, Search
from hypothesis import strategies as st

import fasthash as fh

LARGEST = 2**63 - 1
SIZES = [-(2**63), -1, 0, 1, 2, 7, 2**28 - 1, 2**28, 2**31, 2**40, 2**60, 2**61, 2**62, LARGEST]
COUNTS = st.sampled_from(SIZES) | st.integers(-(2**63), LARGEST) | st.integers(0, 9)

FENCES = {name: Fence() for name in ("a", "b", "allowed", "labels", "query_labels", "out", "ids")}
LIMITS = Fence()


@st.composite
def arguments(draw):
    """Sizes that can be answered or that may be anything, and pointers that may be NULL."""
    small = draw(st.booleans())
    counts = st.integers(0, 9) if small else COUNTS
    return {
        "n_a": draw(counts),
        "n_b": draw(counts),
        "n_bytes": draw(st.integers(1, 20) if small else COUNTS),
        "extent": draw(st.integers(-1, 170) if small else COUNTS),
        "n_words": draw(st.integers(0, 3) if small else COUNTS),
        "n_threads": draw(st.sampled_from([-(2**31), -1, 0, 1, 2, 2**31 - 1])),
        "null": draw(st.just(set()) | st.sets(st.sampled_from(sorted(FENCES)), max_size=2)),
        "seed": draw(st.integers(0, 2**32)),
        "level": draw(st.sampled_from(fh.simd_levels())),
    }


def wrong_codes(x):
    """The errors that apply to the codes of a call."""
    n_a, n_b, n_bytes = x["n_a"], x["n_b"], x["n_bytes"]
    errors = set()
    if n_a < 0 or n_b < 0 or max(n_a, n_b) * max(n_bytes, 1) > LARGEST:
        errors.add(COUNT)
    if not 1 <= n_bytes < 2**28:
        errors.add(WIDTH)
    if x["n_threads"] < 0:
        errors.add(THREADS)
    if ("a" in x["null"] and n_a > 0) or ("b" in x["null"] and n_b > 0):
        errors.add(NULL)
    return errors


def is_small(x):
    """Whether the codes fit in the fences."""
    return max(x["n_a"], x["n_b"]) <= 9 and x["n_bytes"] <= 20


class Call:
    """
    The arguments of a call in fences, where they are small; any address where they are not.

    The last `n_padding` bits of a code are zero.
    """

    def __init__(self, x, n_padding=0):
        self.x = x
        n_a, n_b, n_bytes = x["n_a"], x["n_b"], x["n_bytes"]
        n_words = x["n_words"] if 1 <= x["n_words"] <= 3 else 1
        if not (0 <= n_a <= 9 and 0 <= n_b <= 9 and 1 <= n_bytes <= 20):
            n_a, n_b, n_bytes = 1, 1, 1
        rng = np.random.default_rng(x["seed"])
        # Few different values, so that distances tie.
        self.a = rng.integers(0, 4, (n_a, n_bytes), np.uint8) * 85
        self.b = rng.integers(0, 4, (n_b, n_bytes), np.uint8) * 85
        for codes in (self.a, self.b):
            codes[:, -1] &= 0xFF << n_padding & 0xFF
        self.labels = rng.integers(0, 4, (n_b, n_words), np.uint64) << np.uint64(62)
        self.query_labels = rng.integers(0, 4, (n_a, n_words), np.uint64) << np.uint64(62)
        self.allowed = rng.integers(0, 2, n_b, np.uint8) * 7
        self.inputs = ("a", "b", "labels", "query_labels", "allowed")
        self.at = {}
        for name in self.inputs:
            self.at[name] = FENCES[name].put(getattr(self, name))

    def address(self, name):
        return None if name in self.x["null"] else self.at[name]

    def space(self, name, nbytes):
        """Room for a result: where the call must be refused before it is written, for any size."""
        self.at[name] = FENCES[name].space(nbytes)
        return self.address(name)

    @property
    def codes(self):
        x = self.x
        return self.address("a"), x["n_a"], self.address("b"), x["n_b"], x["n_bytes"]

    def check(self, error, expected):
        """The error is one of those expected, and nothing beside the results was written."""
        assert error in (expected or {OK}), (error, expected, self.x)
        for fence in FENCES.values():
            if hasattr(fence, "_start"):
                fence.assert_whole()
        for name in self.inputs:
            kept = FENCES[name].values(np.uint8)
            np.testing.assert_array_equal(kept, getattr(self, name).view(np.uint8).ravel())


def answered(x, errors, n_out, most_out=9 * 170):
    """Whether a call can be made: it is refused, or answered in the memory that is there."""
    return bool(errors) or (is_small(x) and n_out <= most_out)


def spread(rows, stride):
    """The bytes of rows so far apart, from the first byte of the first to the last of the last."""
    if len(rows) == 0:
        return np.empty(0, np.uint8)
    out = np.full((len(rows) - 1) * stride + rows.shape[1], 0x5A, np.uint8)
    for i, row in enumerate(rows):
        out[i * stride : i * stride + rows.shape[1]] = row
    return out


class Described(Call):
    """A call by fasthash_search: rows lie `strides` bytes apart; what that forbids in `errors`."""

    def __init__(self, x, strides, is_polled, n_padding=0):
        super().__init__(x, n_padding)
        self.errors = wrong_codes(x)
        n_bytes, counts = x["n_bytes"], (x["n_a"], x["n_b"])
        for name, count, stride in zip(("a", "b"), counts, strides, strict=True):
            if stride != 0 and stride < n_bytes:
                self.errors.add(STRIDE)
            if stride > 0 and count * stride > LARGEST:
                self.errors.add(COUNT)
            if not self.errors and stride <= 300:
                rows = getattr(self, name)
                setattr(self, name, spread(rows, stride or n_bytes))
                self.at[name] = FENCES[name].put(getattr(self, name))
                setattr(self, f"{name}_rows", rows)
        (n_a, n_b), self.allowed_at = counts, self.address("allowed")
        poll = POLL(lambda _: 0) if is_polled else POLL()
        self.search = Search(
            self.address("a"), n_a, strides[0], self.address("b"), n_b, strides[1], n_bytes,
            self.allowed_at, poll, None, x["n_threads"],
        )  # fmt: skip

    @property
    def rows(self):
        """Those that may be found."""
        return np.flatnonzero(self.allowed) if self.allowed_at else np.arange(len(self.allowed))


STRIDES = st.sampled_from([0, *range(1, 30), 300]) | COUNTS
