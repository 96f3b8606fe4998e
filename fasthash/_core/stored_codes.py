"""`StoredCodes`: the codes of rows, which may lie in another order than their rows.

Searches in lists read codes list by list, so an index with lists keeps its codes in this order, and
beside them the `Order`: two numbers for each code. All callers ask for codes by row, and answers
are rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .interruptible import take
from .pieces import blocks_of

__all__ = ["Codes", "Layout", "Order", "StoredCodes", "layout_of"]


class Order(NamedTuple):
    """
    In which order codes lie.

    Attributes
    ----------
    rows : ndarray of uint32, shape (n,)
        The row of each code, as they lie.
    places : ndarray of uint32, shape (n,)
        Where the code of each row lies.
    """

    rows: NDArray[np.uint32]
    places: NDArray[np.uint32]

    @classmethod
    def of(cls, rows: NDArray[np.uint32]) -> Order:
        """The order with these rows, each of which is there once."""
        places = np.empty_like(rows)
        for some in blocks_of(rows):
            places[rows[some]] = np.arange(some.start, some.stop, dtype=np.uint32)
        return cls(rows, places)


class Layout(NamedTuple):
    """Codes as they lie, and their order; None if it is that of rows."""

    codes: NDArray[np.uint8]
    order: Order | None


class StoredCodes:
    """
    The codes of rows, which can be laid out in another order while others search them.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, n_bytes)
        In the order of rows; they are referred to and must not change.

    Attributes
    ----------
    layout : Layout
        Whoever searches reads this attribute once.
    shape : tuple of int
    """

    __slots__ = ("layout", "shape")

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self.layout = Layout(codes, None)
        self.shape = codes.shape

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the codes and their order."""
        codes, order = self.layout
        return codes.nbytes + (0 if order is None else order.rows.nbytes + order.places.nbytes)

    def at(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Gather the codes of rows."""
        codes, order = self.layout
        return take(codes, rows if order is None else take(order.places, rows))

    def block(self, rows: slice) -> NDArray[np.uint8]:
        """The codes of consecutive rows; a copy unless the codes lie in the order of rows."""
        codes, order = self.layout
        return codes[rows] if order is None else take(codes, order.places[rows])

    def lay_out(self, rows: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Let the codes lie in this order of rows, in an array which is returned."""
        codes = self.at(rows)
        codes.flags.writeable = False
        self.layout = Layout(codes, Order.of(rows))
        return codes


# What a scan compares queries with.
Codes = NDArray[np.uint8] | StoredCodes


def layout_of(codes: Codes) -> tuple[NDArray[np.uint8], Order | None]:
    """The layout of codes; an array lies in the order of rows."""
    # A tuple takes less time to make than a `Layout`.
    return codes.layout if isinstance(codes, StoredCodes) else (codes, None)
