"""The functions of fasthash.h by ctypes, and memory behind which nothing may be touched."""

import ctypes
import mmap
import sys

import numpy as np

from fasthash import c_api

OK, MEMORY, NULL, COUNT, WIDTH, K, RADIUS, THREADS, LABELS, AT = range(10)
ROOM, STRIDE, STOPPED, BITS, WEIGHTS = range(10, 15)

I64, INT, POINTER = ctypes.c_int64, ctypes.c_int, ctypes.c_void_p


class Table(ctypes.Structure):
    """The members of fasthash.h's table, in its order."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in (
            *("version", "message", "simd_level", "distances", "topk", "within", "release"),
            *("average_precision", "rank", "distances_of", "topk_of", "rank_of", "within_of"),
            *("index_create", "index_topk", "index_within", "index_free", "topk_weighted_of"),
        )
    ]


POLL = ctypes.CFUNCTYPE(INT, POINTER)


class Search(ctypes.Structure):
    """fasthash_search of fasthash.h."""

    _fields_ = [
        ("queries", POINTER),
        ("n_queries", I64),
        ("query_stride", I64),
        ("database", POINTER),
        ("n", I64),
        ("stride", I64),
        ("n_bytes", I64),
        ("allowed", POINTER),
        ("poll", POLL),
        ("context", POINTER),
        ("n_threads", INT),
    ]


def _table():
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return Table.from_address(address(c_api.TABLE, b"fasthash.c_api.TABLE"))


def _function(name, *types, result=ctypes.c_int):
    return ctypes.CFUNCTYPE(result, *types)(getattr(_table(), name))


_CODES = [POINTER, I64, POINTER, I64, I64]

c_message = _function("message", INT, result=ctypes.c_char_p)
c_distances = _function("distances", *_CODES, POINTER, INT)
c_topk = _function("topk", *_CODES, I64, POINTER, POINTER, POINTER, INT)
c_within = _function("within", *_CODES, I64, POINTER, POINTER, POINTER, POINTER, INT)
c_rank = _function("rank", *_CODES, POINTER, INT)
c_distances_of = _function("distances_of", ctypes.POINTER(Search), POINTER)
c_topk_of = _function("topk_of", ctypes.POINTER(Search), I64, POINTER, POINTER)
c_rank_of = _function("rank_of", ctypes.POINTER(Search), POINTER)
c_within_of = _function("within_of", ctypes.POINTER(Search), I64, POINTER, POINTER, POINTER, I64)
c_index_create = _function("index_create", ctypes.POINTER(Search), I64, POINTER)
c_index_topk = _function("index_topk", POINTER, ctypes.POINTER(Search), I64, POINTER, POINTER)
c_index_within = _function(
    "index_within", POINTER, ctypes.POINTER(Search), I64, POINTER, POINTER, POINTER, I64
)
c_index_free = _function("index_free", POINTER, result=None)
c_topk_weighted_of = _function(
    "topk_weighted_of", ctypes.POINTER(Search), POINTER, I64, I64, POINTER, POINTER
)
c_release = _function("release", POINTER, result=None)
c_average_precision = _function(
    "average_precision", *_CODES, POINTER, POINTER, I64, I64, POINTER, INT
)


def data(array):
    return array.ctypes.data


class Fence:
    """
    Memory that ends at a page that nobody may read or write, and begins behind checked bytes.

    Without mprotect (Windows) checked bytes lie behind it too, and only writing is noticed.
    """

    _FILL = 0xA5
    _CHECKED = 64

    def __init__(self, room=1 << 16):
        self._page = mmap.PAGESIZE
        self._room = -(-room // self._page) * self._page
        self._memory = mmap.mmap(-1, self._room + self._page)
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self._is_protected = sys.platform != "win32"
        if self._is_protected:
            protect = ctypes.CDLL(None, use_errno=True).mprotect
            protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
            assert protect(data(self._bytes) + self._room, self._page, 0) == 0

    def put(self, array):
        """The address of a copy of the array that ends where the fence is."""
        return self.space(array.nbytes, np.ascontiguousarray(array).view(np.uint8).ravel())

    def space(self, nbytes, values=None):
        """The address of so many bytes that end where the fence is, behind checked ones."""
        assert nbytes + self._CHECKED <= self._room
        self._start = self._room - nbytes
        end = self._room if self._is_protected else self._room + self._page
        self._bytes[self._start - self._CHECKED : end] = self._FILL
        if values is not None:
            self._bytes[self._start : self._room] = values
        return data(self._bytes) + self._start

    def values(self, dtype):
        """What lies in the space."""
        return self._bytes[self._start : self._room].copy().view(dtype)

    def assert_whole(self):
        """Nothing was written before the space, nor behind it."""
        assert (self._bytes[self._start - self._CHECKED : self._start] == self._FILL).all()
        if not self._is_protected:
            assert (self._bytes[self._room :] == self._FILL).all()
