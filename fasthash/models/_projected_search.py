"""Searches of codes, or of an index, with the projections of queries, for all models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..asymmetric import topk_weighted
from ..codes import check_codes, pack_signs
from ..hamming import topk

__all__ = ["Database", "Index", "check_database", "search_by_projections", "signed_roots"]


@runtime_checkable
class Index(Protocol):
    """What a search needs of `HammingIndex` and `MultiIndexHash`, which models do not import."""

    n_bits: int
    model: str | None

    @property
    def search(self) -> Callable[..., Any]:
        """The method that finds the nearest codes."""


Database = ArrayLike | Index


def check_database(
    database: Any, n_bits: int, fingerprint: Callable[[], str]
) -> NDArray[np.uint8] | Index:
    """
    Check that codes, or an index, have codes of n_bits, and that no other model made the index.

    Raises
    ------
    TypeError, ValueError
        If they do not.
    """
    if not isinstance(database, Index):
        return check_codes(database, "database", n_bits)
    if database.n_bits != n_bits:
        raise ValueError(
            f"database holds codes of {database.n_bits} bits, and the model makes codes of "
            f"{n_bits}: build the index of codes by this model"
        )
    if database.model is not None and database.model != fingerprint():
        raise ValueError(
            f"database holds codes of the model {database.model}, and this one is {fingerprint()}: "
            "build the index of codes by this model, or set its attribute model to None if the "
            "codes are of this model"
        )
    return database


def signed_roots(projections: NDArray[np.floating]) -> NDArray[np.floating]:
    """
    Replace projections by the square roots of their sizes, with their signs; in place.

    These are better weights where few directions make many bits: such bits repeat each other, so a
    large size would count many times.
    """
    roots: NDArray[np.floating] = np.sqrt(np.abs(projections))
    return np.copysign(roots, projections, out=projections)


def search_by_projections(
    projections: NDArray[np.floating],
    database: NDArray[np.uint8] | Index,
    k: int,
    *,
    weights: bool,
    filter: Any = None,
    n_threads: int | None = None,
) -> tuple[Any, NDArray[np.int64]]:
    """Search with projections as weights, or with their packed signs."""
    options = {"filter": filter, "n_threads": n_threads}
    if isinstance(database, Index):
        if weights:
            return database.search(weights=projections, k=k, **options)
        return database.search(pack_signs(projections), k, **options)
    if weights:
        return topk_weighted(projections, database, k, **options)
    return topk(pack_signs(projections), database, k, **options)
