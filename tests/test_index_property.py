"""Ids and codes of random types, given to indexes, against a dictionary.

A call does what the dictionary does, or ends with an error that begins with the name of the
argument and changes nothing. There is no third outcome, also after the index was saved and loaded.
"""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scipy import sparse

import fasthash as fh
from reference.index import Index as Twin
from strategies import random_codes

KINDS = {
    "scan": lambda n_bits: fh.HammingIndex(n_bits, multi_index="never"),
    "tables": lambda n_bits: fh.HammingIndex(n_bits, multi_index="always"),
    "auto": fh.HammingIndex,
    "multi-index": fh.MultiIndexHash,
}


def as_read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def module(name):
    return pytest.importorskip(name)


ANY_ORDER = {
    "as it is": lambda x: x,
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(x.tolist()),
    "read-only": as_read_only,
    "strided": lambda x: np.repeat(x, 3, axis=0)[::3],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "unmasked": np.ma.array,
    "tensor": lambda x: module("torch").tensor(x),
}
ID_CONTAINERS = {
    **ANY_ORDER,
    "pandas": lambda x: module("pandas").Series(x),
    "pandas index": lambda x: module("pandas").Index(x),
    "polars": lambda x: module("polars").Series(x),
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
}
CODE_CONTAINERS = {
    **ANY_ORDER,
    "fortran": np.asfortranarray,
    "signed bytes": lambda x: (x ^ 128).view(np.int8),
    "pandas": lambda x: module("pandas").DataFrame(x),
    "wide memory": lambda x: np.ascontiguousarray(np.pad(x, ((0, 0), (1, 2))))[
        :, 1 : 1 + x.shape[1]
    ],
}
BAD_IDS = {
    "floats": lambda x: x.astype(float),
    "booleans": lambda x: np.ones(len(x), bool),
    "text": lambda x: x.astype(str),
    "objects": lambda x: x.astype(object),
    "complex": lambda x: x.astype(complex),
    "two dimensions": lambda x: x[:, None],
    "no dimension": lambda x: x[0],
    "masked": lambda x: np.ma.array(x, mask=np.arange(len(x)) == 0),
    "past int64": lambda x: x.astype(np.uint64) + np.uint64(2**63),
    "past uint64": lambda x: [2**70, *x.tolist()[1:]],
    "None": lambda x: [None, *x.tolist()[1:]],
    "mapping": lambda x: dict.fromkeys(x.tolist(), 1),
    "generator": lambda x: (i for i in x.tolist()),
    "sparse": lambda x: sparse.csr_array(x[None]),
    "missing": lambda x: module("pandas").array([None, *x.tolist()[1:]], dtype="Int64"),
    "ragged": lambda x: [[1], *x.tolist()[1:], [2, 3]],
}
BAD_CODES = {
    "floats": lambda x: x.astype(float),
    "wide integers": lambda x: x.astype(np.int64),
    "booleans": lambda x: x > 0,
    "unpacked": lambda x: np.unpackbits(x, axis=1),
    "text": lambda x: [row.tobytes().hex() for row in x],
    "one dimension": lambda x: x[0],
    "three dimensions": lambda x: x[None],
    "too wide": lambda x: np.pad(x, ((0, 0), (0, 1))),
    "masked": lambda x: np.ma.array(x, mask=np.ones(x.shape, bool)),
    "sparse": lambda x: sparse.csr_array(x),
    "ragged": lambda x: [*x.tolist()[:-1], []],
    "None": lambda x: None,
}
ID_DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]

ids_of_any_type = st.tuples(st.sampled_from(ID_DTYPES), st.sampled_from(sorted(ID_CONTAINERS)))
codes_of_any_type = st.sampled_from(sorted(CODE_CONTAINERS))
small_ids = st.lists(st.integers(0, 60), max_size=12, unique=True)


def of_type(ids, kind):
    dtype, container = kind
    # Torch has no large unsigned types.
    x = np.array(ids, np.int64 if container == "tensor" else dtype)
    return ID_CONTAINERS[container](x)


class Types(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(sorted(KINDS)), n_bits=st.sampled_from([3, 8, 20, 64, 130]))
    def start(self, kind, n_bits):
        self.n_bits, self.folder = n_bits, tempfile.TemporaryDirectory()
        self.index, self.twin = KINDS[kind](n_bits), Twin(n_bits)
        self.prepared = []

    def teardown(self):
        if hasattr(self, "folder"):
            # Windows deletes no file that is mapped.
            del self.index
            self.folder.cleanup()

    def codes(self, n, seed):
        return random_codes(8, self.n_bits, seed % 3)[
            np.random.default_rng(seed).integers(8, size=n)
        ]

    @rule(ids=small_ids, kind=ids_of_any_type, of=codes_of_any_type, seed=st.integers(0, 99))
    def add(self, ids, kind, of, seed):
        codes = self.codes(len(ids), seed)
        before = codes.copy()
        if len(ids):
            self.index.add(CODE_CONTAINERS[of](codes), ids=of_type(ids, kind), replace=True)
            assert self.twin.add(codes, ids, True)
        np.testing.assert_array_equal(codes, before)

    @rule(ids=small_ids, kind=ids_of_any_type, ignored=st.booleans())
    def remove(self, ids, kind, ignored):
        if ignored or all(i in self.twin.held for i in ids):
            missing = "ignore" if ignored else "raise"
            assert self.index.remove(of_type(ids, kind), missing=missing) == self.twin.remove(ids)

    @rule(kind=ids_of_any_type, of=codes_of_any_type, seed=st.integers(0, 99))
    def update_and_look_up(self, kind, of, seed):
        ids = sorted(self.twin.held)[::-2]
        if ids:
            codes = self.codes(len(ids), seed)
            self.index.update(CODE_CONTAINERS[of](codes), ids=of_type(ids, kind))
            assert self.twin.update(ids, codes)
            np.testing.assert_array_equal(self.index.reconstruct(of_type(ids, kind)), codes)

    @rule(mmap=st.booleans())
    def save_and_load(self, mmap):
        path = Path(self.folder.name) / f"{len(list(Path(self.folder.name).iterdir()))}.index"
        self.index.save(path)
        self.index = type(self.index).load(path, mmap=mmap)
        self.index.verify()
        assert type(fh.load(path)) is type(self.index)
        self.prepared = []

    @rule(allowed=small_ids, kind=ids_of_any_type)
    def prepare(self, allowed, kind):
        if kind[0] != "uint8" or kind[1] in ("list", "tuple", "tensor"):
            prepared = self.index.prepare_filter(of_type(allowed, kind))
            self.prepared = [(allowed, prepared), *self.prepared[:1]]

    @rule(
        of=codes_of_any_type,
        seed=st.integers(0, 99),
        k=st.integers(1, 20),
        radius=st.integers(0, 140),
        allowed=st.none() | small_ids,
        kind=ids_of_any_type,
    )
    def search(self, of, seed, k, radius, allowed, kind):
        codes = self.codes(3, seed)
        queries = CODE_CONTAINERS[of](codes)
        filters = [(allowed, None if allowed is None else of_type(allowed, kind)), *self.prepared]
        for allowed, given_filter in filters:
            calls = (
                (self.index.search, self.twin.search, k),
                (
                    self.index.within,
                    self.twin.within,
                    radius,
                ),
            )
            for ours, theirs, extent in calls:
                try:
                    found = ours(queries, extent, filter=given_filter)
                except TypeError as error:
                    assert "filter has dtype uint8" in str(error) and kind[0] == "uint8"
                    continue
                for a, b in zip(found, theirs(codes, extent, allowed), strict=True):
                    np.testing.assert_array_equal(a, b)
                    assert a.dtype == b.dtype

    @precondition(lambda self: hasattr(self, "index"))
    @rule(bad=st.sampled_from(sorted(BAD_IDS)), seed=st.integers(0, 99))
    def refuse_ids(self, bad, seed):
        state = self.index._storage.state
        x, codes = np.arange(3), self.codes(3, seed)
        calls = {
            "ids": [
                lambda ids: self.index.add(codes, ids=ids),
                lambda ids: self.index.add(codes, ids=ids, replace=True),
                lambda ids: self.index.update(codes, ids=ids),
                lambda ids: self.index.remove(ids, missing="ignore"),
                self.index.reconstruct,
            ],
            "filter": [
                lambda ids: self.index.search(codes, 1, filter=ids),
                lambda ids: self.index.within(codes, 1, filter=ids),
                self.index.prepare_filter,
            ],
        }
        for name, functions in calls.items():
            for function in functions:
                with pytest.raises((TypeError, ValueError)) as caught:
                    function(BAD_IDS[bad](x))
                message = str(caught.value)
                assert re.match(rf"({name}|ids) ", message), message
                assert message[-1] not in ":,;"
        assert self.index._storage.state is state

    @rule(bad=st.sampled_from(sorted(BAD_CODES)), seed=st.integers(0, 99))
    def refuse_codes(self, bad, seed):
        state = self.index._storage.state
        codes = random_codes(3, self.n_bits, seed)
        for name, function in (
            ("codes", lambda x: self.index.add(x)),
            ("codes", lambda x: self.index.update(x, ids=[1, 2, 3])),
            ("queries", lambda x: self.index.search(x, 1)),
            ("queries", lambda x: self.index.within(x, 1)),
        ):
            with pytest.raises((TypeError, ValueError), match=rf"{name}\b"):
                function(BAD_CODES[bad](codes))
        assert self.index._storage.state is state

    @invariant()
    def holds_the_same(self):
        if hasattr(self, "index"):
            ids = sorted(self.twin.held)
            assert self.index.ids.tolist() == ids and len(self.index) == len(ids)
            assert [bytes(code) for code in self.index.codes] == [self.twin.held[i] for i in ids]


TestTypes = Types.TestCase
TestTypes.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


@given(
    value=st.one_of(
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=3),
        st.none(),
        st.booleans(),
        st.tuples(st.integers(0, 5)),
        st.sampled_from([np.int8(3), np.uint64(2**63), np.float32(3), np.array(3), np.array([3])]),
    )
)
def test_in_asks_for_any_object(value):
    index = fh.HammingIndex(8)
    index.add(random_codes(6, 8))
    # As range: True is 1, and what is no integer is not held.
    is_integer = isinstance(value, int | np.integer) or (
        isinstance(value, np.ndarray) and value.ndim == 0
    )
    assert (value in index) == (is_integer and int(value) in range(6))
